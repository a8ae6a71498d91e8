"""Notes with each shield of which database it was last in step with."""

from django.db import migrations, models


def take_present(apps, schema_editor):
    epoch = apps.get_model("servers", "Epoch").objects.order_by("-pk").first()
    if epoch is not None:
        apps.get_model("servers", "Server").objects.exclude(applied_digest="").update(epoch=epoch.value)


class Migration(migrations.Migration):
    dependencies = [("servers", "0004_touched")]
    operations = [
        migrations.AddField("server", "epoch", models.CharField(blank=True, editable=False, max_length=32, default="")),
        migrations.RunPython(take_present, migrations.RunPython.noop),
    ]
