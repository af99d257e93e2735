/* common/model/model_try.c: libxgboost meets a foreign model first in a child that may die. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model/model.h"

#define SECONDS_MAX 20
#define MEMORY_FACTOR 64                       /* of the model's bytes: what libxgboost's reader may take */
#define MEMORY_BASE_BYTES ((rlim_t)512 << 20)

static void limit(int what, rlim_t n)
{
    struct rlimit l = {n, n};

    setrlimit(what, &l);
}

static void limit_child(size_t n_bytes)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_DUMPABLE, 0);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_CPU, SECONDS_MAX);
    signal(SIGALRM, SIG_DFL);
    alarm(SECONDS_MAX); /* a lock that another thread held at the fork is never given back */
#ifndef __SANITIZE_ADDRESS__ /* its shadow is larger than any limit */
    {
        FILE *f = fopen("/proc/self/statm", "re");
        unsigned long pages = 0;

        if (f != NULL && fscanf(f, "%lu", &pages) == 1)
            limit(RLIMIT_AS, (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + MEMORY_BASE_BYTES + MEMORY_FACTOR * n_bytes);
        if (f != NULL)
            fclose(f);
    }
#else
    (void)n_bytes;
#endif
}

static _Noreturn void child(struct view bytes, int out)
{
    struct error err = {0};
    struct model *m = NULL;
    enum status st;

    limit_child(bytes.n);
    st = model_load(bytes, &m, &err);
    if (st != OK && write(out, err.text, strlen(err.text)) < 0)
        _exit(3);
    _exit(st == OK ? 0 : 1);
}

enum status model_try(struct view bytes, struct error *err)
{
    char text[900];
    ssize_t n, got = 0;
    int to_us[2], how = 0;
    pid_t pid;

    if (pipe(to_us) != 0)
        return err_set(err, ERR_FATAL, "model: no pipe: %s", strerror(errno));
    pid = fork();
    if (pid < 0) {
        err_set(err, ERR_FATAL, "model: no child to try it in: %s", strerror(errno));
        close(to_us[0]);
        close(to_us[1]);
        return ERR_FATAL;
    }
    if (pid == 0)
        child(bytes, to_us[1]);
    close(to_us[1]);
    while ((n = read(to_us[0], text + got, sizeof(text) - 1 - (size_t)got)) > 0 || (n < 0 && errno == EINTR))
        got += n > 0 ? n : 0;
    text[got] = '\0';
    close(to_us[0]);
    while (waitpid(pid, &how, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(how) && WEXITSTATUS(how) == 0)
        return OK;
    if (WIFSIGNALED(how))
        return err_set(err, ERR_RECORD, "model: libxgboost ended with signal %d (%s) on it, in a child", WTERMSIG(how),
                       WTERMSIG(how) == SIGALRM ? "took too long" : strsignal(WTERMSIG(how)));
    return err_set(err, ERR_RECORD, "%s", got ? text : "model: the child that tried it gave up");
}
