/* workers/alert/main.c: scores -> alerts, by rules. Wiring only. */
#include "workers/alert/alert.h"

int main(int argc, char **argv)
{
    static const struct worker alert = {
        .name = "alert",
        .open = alert_open,
        .transform = alert_transform,
        .check = alert_check,
        .close = alert_close,
    };

    return stage_main(&alert, argc, argv);
}
