from django.db import migrations, models

ACTS = [
    ("launch", "launched"),
    ("retry", "retried"),
    ("cancel", "asked to cancel"),
    ("annotate", "changed notes or tags"),
    ("metrics", "began to send metrics"),
    ("delete", "moved to the trash"),
    ("purge", "freed for good"),
    ("restore", "restored"),
    ("release", "gave up as lost"),
    ("adopt", "made the record anew"),
    ("upload", "uploaded a dataset"),
    ("keep_view", "kept a view"),
    ("forget_view", "forgot a view"),
    ("make_token", "made a token"),
    ("revoke_token", "revoked a token"),
    ("make_account", "made the account"),
    ("password", "changed the password"),
    ("login", "signed in"),
    ("login_failed", "failed to sign in"),
    ("logout", "signed out"),
    ("install", "asked to install Tunix again"),
    ("admin", "edited in the admin"),
]


class Migration(migrations.Migration):
    dependencies = [("runs", "0013_install_act")]
    operations = [migrations.AlterField("event", "act", models.CharField(choices=ACTS, max_length=32))]
