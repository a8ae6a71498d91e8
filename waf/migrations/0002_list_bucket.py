from django.db import migrations, models

from lumos_agent.schema import bucket_of
from waf.models import BucketField


def fill(apps, schema_editor):
    entries = apps.get_model("waf", "ListEntry").objects
    batch = []
    for entry in entries.only("network").iterator(1000):
        entry.bucket = bucket_of(entry.network)
        batch.append(entry)
        if len(batch) == 1000:
            entries.bulk_update(batch, ["bucket"])
            batch = []
    entries.bulk_update(batch, ["bucket"])


class Migration(migrations.Migration):
    dependencies = [("waf", "0001_initial"), ("domains", "0006_rollouts")]

    operations = [
        migrations.AddField(
            model_name="listentry", name="bucket", field=models.PositiveSmallIntegerField(default=0, editable=False)
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AlterField(model_name="listentry", name="bucket", field=BucketField(editable=False)),
        migrations.AddIndex(
            model_name="listentry", index=models.Index(fields=["domain", "bucket"], name="waf_listent_domain__ef6e5d_idx")
        ),
    ]
