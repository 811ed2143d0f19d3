"""The roles, as groups. What each may do is in runs/access.py; an account gets its role in the admin."""

from django.db import migrations

VIEW = ["runs.tunixrun.view_tunixrun"]
OPERATE = [*VIEW, "runs.tunixrun.operate"]
ADMINISTER = [
    *OPERATE,
    "runs.tunixrun.administer",
    "runs.event.view_event",
    "auth.user.view_user",
    "auth.user.add_user",
    "auth.user.change_user",
    "auth.group.view_group",
]
ROLES = {"viewer": VIEW, "operator": OPERATE, "admin": ADMINISTER}


def make_roles(apps, schema_editor):
    """Permissions are made after all migrations otherwise; a database that is new has none yet."""
    Group, Permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    ContentType = apps.get_model("contenttypes", "ContentType")
    for role, names in ROLES.items():
        group, _ = Group.objects.get_or_create(name=role)
        for name in names:
            app, model, codename = name.split(".")
            kind, _ = ContentType.objects.get_or_create(app_label=app, model=model)
            defaults = {"name": TITLES.get(codename, f"Can {codename.replace('_', ' ')}")}
            permission, _ = Permission.objects.get_or_create(content_type=kind, codename=codename, defaults=defaults)
            group.permissions.add(permission)


TITLES = {
    "operate": "Can launch, cancel, retry, annotate and upload",
    "administer": "Can delete and restore, and see who did what",
    "view_tunixrun": "Can view run",
}


def remove_roles(apps, schema_editor):
    """But for those that accounts have: forward again they have them still."""
    apps.get_model("auth", "Group").objects.filter(name__in=ROLES, user=None).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0007_roles_tokens_events"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(make_roles, remove_roles)]
