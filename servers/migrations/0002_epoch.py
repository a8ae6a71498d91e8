"""Gives this database its identity."""

import secrets

from django.db import migrations


def make_epoch(apps, schema_editor):
    apps.get_model("servers", "Epoch").objects.create(value=secrets.token_hex(16))


class Migration(migrations.Migration):
    dependencies = [("servers", "0001_initial")]
    operations = [migrations.RunPython(make_epoch, migrations.RunPython.noop)]
