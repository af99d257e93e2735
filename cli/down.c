#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "cli/cli.h"

#define WAIT_MS 20000

int cli_up_pid(const char *pid_file)
{
    FILE *f = fopen(pid_file, "r");
    int pid = 0;

    if (f == NULL)
        return 0;
    if (flock(fileno(f), LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK || fscanf(f, "%d", &pid) != 1 || pid <= 1)
        pid = 0; /* nobody holds it: it was left behind */
    fclose(f);
    return pid;
}

int cli_down(int argc, char **argv)
{
    const char *what = NULL;
    char name[256], path[PATH_MAX];
    size_t n_args;
    int pid;

    if (!cli_options(argc, argv, NULL, 0, &what, 1, &n_args))
        return EXIT_CALL;
    if (n_args != 1)
        return cli_wrong("down", "which pipeline?");
    snprintf(name, sizeof(name), "%s", what);
    if (strstr(what, ".json") != NULL) {
        struct pipeline *p = cli_pipeline(what);

        if (p == NULL)
            return EXIT_CALL;
        snprintf(name, sizeof(name), "%s", p->name);
        pipeline_free(p);
    }
    snprintf(path, sizeof(path), "build/run/%s/up.pid", name);
    pid = cli_up_pid(path);
    if (pid == 0 || kill(pid, SIGTERM) != 0) {
        fprintf(stderr, "millrace down: %s is not up (no process in %s)\n", name, path);
        return 1;
    }
    for (int waited = 0; waited < WAIT_MS; waited += 100) {
        if (cli_up_pid(path) == 0) {
            printf("%s is down\n", name);
            return 0;
        }
        (void)poll(NULL, 0, 100);
    }
    fprintf(stderr, "millrace down: process %d still runs after %d s\n", pid, WAIT_MS / 1000);
    return 1;
}
