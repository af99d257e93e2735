/*
 * pages: a request whose body is read -> its answer; what http.c, which has the connections and the thread, shares with it.
 *
 * Threads  the HTTP thread; of struct ops what other threads write is atomic or under `lock`.
 */
#ifndef OPS_PAGES_H
#define OPS_PAGES_H

#include <microhttpd.h>
#include <pthread.h>

#include "ops/http.h"

/* One connection: when it must be done. libmicrohttpd's own timeout restarts at every byte. */
struct conn {
    struct conn *next, **link;
    int fd;
    int64_t deadline_ms;
    unsigned n_answered;
    bool in_request; /* the header is read, the answer not yet begun */
    bool answering;
};

struct ops {
    struct metrics *metrics;
    ops_call *call;
    void *call_arg;
    _Atomic int64_t beat_ms; /* 0: nobody beats */
    pthread_mutex_t lock;    /* of ready and reason */
    bool ready;
    char reason[256];

    struct ops_limits limits;
    struct MHD_Daemon *daemon;
    struct conn *conns; /* HTTP thread only, as is `freed` */
    bool freed;         /* a connection ended in this run */
    pthread_t thread;
    int stop_fd, port;
};

/* Answers a request for `path`, which is `url` decoded. */
enum MHD_Result pages_route(struct ops *ops, struct MHD_Connection *c, const char *method, const char *url, const char *path,
                            const struct bytes *body);
enum MHD_Result pages_answer_text(struct MHD_Connection *c, int status, const char *allow, const char *text);
/* In place. False: a bad escape, or an escaped NUL (it would cut the path short). */
bool pages_decode_path(char *path);

#endif
