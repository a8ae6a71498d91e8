from django.db import migrations, models

POSTGRESQL = """
    CREATE OR REPLACE FUNCTION lumos_protect_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE'
           AND OLD.account_id::text = ANY (string_to_array(current_setting('lumos.erased_accounts', true), ',')) THEN
            RETURN OLD;
        END IF;
        IF TG_OP = 'DELETE' AND OLD.kind = 'charge' AND current_setting('lumos.rolls_up', true) = 'on' THEN
            RETURN OLD;
        END IF;
        RAISE EXCEPTION 'ledger entries are never changed; book another one' USING ERRCODE = 'integrity_constraint_violation';
    END $$
"""


def let_charges_be_rolled_up(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(POSTGRESQL)


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0004_disputes'),
    ]

    operations = [
        migrations.AddField(
            model_name='ledgerentry',
            name='cycles',
            field=models.PositiveSmallIntegerField(db_default=1, default=1),
        ),
        migrations.AddField(
            model_name='wallet',
            name='rolled_until',
            field=models.BigIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.RunPython(let_charges_be_rolled_up, migrations.RunPython.noop),
    ]
