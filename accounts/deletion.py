"""The end of an account: all its rows, and the people who belong to no other one."""

import logging

from allauth.usersessions.models import UserSession
from django.db import transaction

from accounts.models import Account, ApiKey, User
from accounts.tenancy import tenant_scope
from accounts.throttles import forget_account
from lumos.errors import InvalidInput
from servers import revisions, wake
from servers.models import Server

log = logging.getLogger(__name__)


def delete_account(*, account: Account, confirmation: str, actor: User) -> None:
    """Delete the account with everything in it; its shields go on with what they run until they are uninstalled.

    Tokens of servers and API keys are worth nothing from the commit on. What remains is one line in the log.

    Raises:
        InvalidInput: `confirmation` is not the account's name.
    """
    if confirmation != account.name:
        raise InvalidInput(f"Type the account's name, “{account.name}”, to confirm.", field="confirmation")
    account_id = account.pk
    with transaction.atomic(), tenant_scope(account_id):
        Account.objects.select_for_update().get(pk=account_id)
        people = list(User.objects.filter(memberships__account=account))
        for server in Server.objects.all():
            revisions.disconnect(server)
        wake.pages_on_commit(account_id, "account")
        callers = [person.pk for person in people] + list(ApiKey.objects.values_list("pk", flat=True))
        transaction.on_commit(lambda: forget_account(account_id, callers))
        Account.objects.filter(pk=account_id).delete()
        for person in people:
            _forget(person)
    log.info("account_deleted", extra={"deleted_account": str(account_id), "by": str(actor.pk)})


def _forget(person: User) -> None:
    """Delete a person who has no account and no office left, with the sessions."""
    if person.is_staff or person.memberships.exists():
        return
    for session in UserSession.objects.filter(user=person):
        session.end()
    person.delete()
