#define _GNU_SOURCE
#include "ops/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static atomic_bool stopping;
static atomic_uint seen[NSIG];
static int event_fd = -1;

static void wake(void)
{
    const uint64_t one = 1;

    atomic_store(&stopping, true);
    (void)!write(event_fd, &one, sizeof(one));
}

/* Async-signal-safe: lock-free atomics, write, _exit. */
static void on_signal(int number)
{
    int saved = errno;

    if (atomic_fetch_add(&seen[number], 1) > 0)
        _exit(SIGNALS_EXIT);
    wake();
    errno = saved;
}

enum status signals_start(struct error *err)
{
    struct sigaction stop = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    if (event_fd < 0)
        event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event_fd < 0)
        return err_set(err, ERR_FATAL, "cannot make an eventfd: %s; raise the limit of open files (ulimit -n)",
                       strerror(errno));
    sigemptyset(&stop.sa_mask);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    return OK;
}

bool signals_stopping(void)
{
    return atomic_load_explicit(&stopping, memory_order_relaxed);
}

int signals_fd(void)
{
    return event_fd;
}

void signals_stop(void)
{
    wake();
}
