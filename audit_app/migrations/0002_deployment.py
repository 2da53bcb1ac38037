"""Gives the installation its identity before anything can be written that depends on it."""

from django.db import migrations


def make_deployment(apps, schema_editor):
    apps.get_model("audit_app", "Deployment").objects.get_or_create(pk=1)


class Migration(migrations.Migration):
    dependencies = [("audit_app", "0001_initial")]

    operations = [migrations.RunPython(make_deployment, migrations.RunPython.noop, elidable=False)]
