"""What happens to accounts, for whoever tells people. Each signal is sent inside the transaction of its cause.

Receivers get `account_ids`, a list of UUIDs: a cycle tells of many accounts at once.
"""

from django.dispatch import Signal

balance_low = Signal()
"""The balance fell below twice the plan's price; once per crossing."""
accounts_frozen = Signal()
"""The balance was short of a charge."""
accounts_unfrozen = Signal()
"""A deposit, or a plan that costs nothing, ended a freeze."""
