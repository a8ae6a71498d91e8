"""The three plans to begin with, and the protection of the ledger."""

from django.db import migrations

CREDIT = 1_000_000
EVERYTHING = {"has_api_keys": True, "has_email_alerts": True, "has_failover": True, "has_webhooks": True}
PLANS = [
    {"name": "Free", "price_microcredits": 0, "max_servers": 1, "analytics_hours": 24, "is_default": True},
    {"name": "Pro", "price_microcredits": 19 * CREDIT, "max_servers": 5, "analytics_hours": 7 * 24, **EVERYTHING},
    {"name": "Enterprise", "price_microcredits": 99 * CREDIT, "max_servers": 20, "analytics_hours": 720, **EVERYTHING},
]
POSTGRESQL = [
    """
    CREATE FUNCTION lumos_protect_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE'
           AND OLD.account_id::text = ANY (string_to_array(current_setting('lumos.erased_accounts', true), ',')) THEN
            RETURN OLD;
        END IF;
        RAISE EXCEPTION 'ledger entries are never changed; book another one' USING ERRCODE = 'integrity_constraint_violation';
    END $$
    """,
    """
    CREATE TRIGGER lumos_protect_ledger BEFORE UPDATE OR DELETE ON billing_ledgerentry
    FOR EACH ROW EXECUTE FUNCTION lumos_protect_ledger()
    """,
    # Room for the next versions of rows in the same page: an update of a balance then touches no index.
    "ALTER TABLE billing_wallet SET (fillfactor = 50)",
]
SQLITE = [
    """
    CREATE TRIGGER lumos_protect_ledger BEFORE UPDATE ON billing_ledgerentry
    BEGIN SELECT RAISE(ABORT, 'ledger entries are never changed; book another one'); END
    """
]


def add_plans(apps, schema_editor):
    plans = apps.get_model("billing", "Plan").objects
    for plan in PLANS:
        plans.create(**plan)


def protect(apps, schema_editor):
    for statement in POSTGRESQL if schema_editor.connection.vendor == "postgresql" else SQLITE:
        schema_editor.execute(statement)


def unprotect(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP FUNCTION lumos_protect_ledger CASCADE")
    else:
        schema_editor.execute("DROP TRIGGER lumos_protect_ledger")


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]
    operations = [
        migrations.RunPython(add_plans, migrations.RunPython.noop),
        migrations.RunPython(protect, unprotect),
    ]
