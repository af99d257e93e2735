#include "kafka/outbox.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/log.h"

struct outbox {
    struct producer p;
    bool failed; /* a put was not taken */
    bool begun;  /* put since the last flush: what was refused before is over */
};

static bool is_broken(const struct outbox *o)
{
    return o->failed || o->p.refused != RD_KAFKA_RESP_ERR_NO_ERROR;
}

enum status outbox_new(const char *brokers, const struct pipeline *p, struct outbox **ret_outbox, struct error *err)
{
    struct outbox *o = xcalloc(1, sizeof(*o));

    o->p = (struct producer){.brokers = brokers, .p = p};
    if (producer_open(&o->p, err) != OK) {
        outbox_free(o);
        return err->status;
    }
    *ret_outbox = o;
    return OK;
}

void outbox_free(struct outbox *o)
{
    if (o && o->p.client && !is_broken(o))
        (void)producer_settle(&o->p);
    if (o)
        producer_done(&o->p);
    free(o);
}

void outbox_poll(struct outbox *o)
{
    if (o)
        producer_poll(&o->p);
}

size_t outbox_refused(const struct outbox *o, const size_t **ret_records)
{
    if (o == NULL || o->begun)
        return 0;
    *ret_records = o->p.too_large;
    return o->p.n_too_large;
}

/* A producer of which a record failed would send later ones: a reader would take the gap for the past. */
static enum status renew(struct outbox *o, const char *why, struct error *err)
{
    log_warn("producer_renewed", "id=none reason=\"%s\"", why);
    producer_close(&o->p);
    o->failed = o->begun = false;
    return producer_open(&o->p, err);
}

enum status outbox_put(struct outbox *o, const struct log_put *put, size_t number, struct error *err)
{
    enum status s;

    if (!o->begun)
        producer_clear(&o->p);
    o->begun = true;
    if (o->failed)
        return err_set(err, ERR_RETRY, "a record for %s could not be written: begin anew first", put->topic);
    if (o->p.refused != RD_KAFKA_RESP_ERR_NO_ERROR && o->p.refused != RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
        o->failed = true;
        return producer_refusal(&o->p, o->p.refused, o->p.refused_topic, err);
    }
    s = producer_put(&o->p, put, number, NULL, view_of(NULL, 0), err);
    o->failed = s != OK && s != ERR_RECORD;
    return s;
}

enum status outbox_flush(struct outbox *o, bool *ret_again, struct error *err)
{
    bool settled = producer_settle(&o->p);
    rd_kafka_resp_err_t refused = o->p.refused;
    struct error worse;
    enum status s;

    *ret_again = false;
    if (settled && !is_broken(o)) {
        o->begun = false;
        producer_clear(&o->p);
        return OK;
    }
    if (refused == RD_KAFKA_RESP_ERR_NO_ERROR)
        s = err_set(err, ERR_RETRY, "outputs were not delivered within %d s", PRODUCER_CALL_MS / 1000);
    else
        s = producer_refusal(&o->p, refused, o->p.refused_topic, err);
    *ret_again = s == ERR_RETRY && refused == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    if (*ret_again && o->p.n_too_large == 0)
        producer_shrink(&o->p);
    if (renew(o, err->text, &worse) != OK)
        *err = worse;
    return err->status;
}

enum status outbox_abort(struct outbox *o, struct error *err)
{
    if (o == NULL)
        return OK;
    if (producer_settle(&o->p) && !is_broken(o)) {
        o->begun = false;
        producer_clear(&o->p);
        return OK;
    }
    return renew(o, "a record could not be written", err);
}
