from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("environments_app", "0015_names_for_people"),
    ]

    operations = [
        migrations.RenameField("failedsignins", "account", "bucket"),
        migrations.RenameField("failedsignins", "since", "until"),
        migrations.CreateModel(
            name="KnownNetwork",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("key", models.CharField(max_length=64, unique=True)),
                ("until", models.DateTimeField(db_index=True)),
            ],
        ),
    ]
