from django.db import migrations, models
from django.db.migrations.operations.base import Operation

MODELS = ("dailymetric", "hourlymetric", "minutemetric", "serverday", "serverhour", "serverminute")
BUCKETS = (
    1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700,
    1000, 1500, 2000, 3000, 5000, 7000, 10_000, 20_000, 60_000, "longer",
)  # fmt: skip
NAMES = tuple(f"ms_{bucket}" for bucket in BUCKETS)


class AddBuckets(Operation):
    """Add many fields to a model at once: one by one, Django would make all models anew for each."""

    reversible = True

    def __init__(self, model):
        self.model = model

    def state_forwards(self, app_label, state):
        for name in NAMES:
            state.models[app_label, self.model].fields[name] = models.PositiveBigIntegerField(null=True)
        state.reload_model(app_label, self.model, delay=True)

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        model = to_state.apps.get_model(app_label, self.model)
        for name in NAMES:
            schema_editor.add_field(model, model._meta.get_field(name))

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        model = from_state.apps.get_model(app_label, self.model)
        for name in NAMES:
            schema_editor.remove_field(model, model._meta.get_field(name))

    def describe(self):
        return f"Add the buckets of latency to {self.model}"


class Migration(migrations.Migration):

    dependencies = [
        ('servers', '0011_health'),
    ]

    operations = [AddBuckets(model) for model in MODELS]
