"""The operator's admin in place of Django's own site."""

from django.contrib.admin.apps import AdminConfig


class OperatorAdminConfig(AdminConfig):
    """Django's admin with `lumos.operator.OperatorSite`."""

    default_site = "lumos.operator.OperatorSite"
