#include "kafka/txn.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/mutant.h"

#define SLOW_MS 5000      /* beyond it a late request may still be on its way */
#define RENEW_MS 30000    /* then the loop says what it waits for, and asks again */

struct txn {
    struct producer p;
    char *id;
    bool open;
    bool doomed; /* a put failed: the transaction can only be aborted */
    int64_t since_ms; /* when its offsets or its end were asked for first; 0: not yet */
    bool spent;  /* the producer is not to be used any more: an abort takes a new one */
    txn_claim_fn *claim;
    void *claim_ctx;
};

/* The coordinator moves, has just started, or still ends the former transaction. */
static bool is_passing(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS || code == RD_KAFKA_RESP_ERR_NOT_COORDINATOR ||
           code == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE || code == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
}

/* Ends whatever the id's former producer left open, and takes its place. */
static enum status init(struct txn *t, int deadline_ms, struct error *err)
{
    int64_t deadline = clock_mono_ms() + deadline_ms;
    char what[300];

    snprintf(what, sizeof(what), "transactional id %s", t->id);
    for (;;) {
        AUTO(kerror) e = rd_kafka_init_transactions(t->p.client,
                                                    deadline_ms < PRODUCER_CALL_MS ? deadline_ms : PRODUCER_CALL_MS);
        static int64_t said;

        if (e == NULL)
            break;
        t->p.code = rd_kafka_error_code(e);
        if (rd_kafka_error_is_fatal(e) || !rd_kafka_error_is_retriable(e) || clock_mono_ms() >= deadline) {
            enum status s = conf_explain(err, t->p.code, t->p.brokers, what);

            if (t->claim && (s == ERR_RETRY || is_passing(t->p.code)))
                return err->status = ERR_RETRY; /* the loop waits, as for any broker that is away */
            return s == ERR_RETRY ? (err->status = ERR_FATAL) : s;
        }
        if (log_every_ms(&said, 60000))
            log_warn("broker_away", "brokers=%s id=%s reason=\"%s\"", t->p.brokers, t->id, rd_kafka_error_string(e));
    }
    t->p.lost = t->spent = false;
    return OK;
}

static enum status open_producer(struct txn *t, struct error *err)
{
    t->open = t->doomed = false;
    return producer_open(&t->p, err);
}

static enum status renew(struct txn *t, const char *why, struct error *err)
{
    enum status s = t->claim ? t->claim(t->claim_ctx, err) : OK;

    t->spent = true;
    if (s != OK)
        return s;
    log_warn("producer_renewed", "id=%s reason=\"%s\"", t->id, why);
    producer_close(&t->p);
    if (FAIL("txn.in_renew", err) != OK)
        return err->status;
    s = open_producer(t, err);
    return s == OK ? init(t, RENEW_MS, err) : s;
}

enum status txn_new(const char *brokers, const struct pipeline *p, const char *id, struct txn **ret_txn,
                    struct error *err)
{
    struct txn *t = xcalloc(1, sizeof(*t));

    t->id = xstrdup(id);
    t->p = (struct producer){.brokers = brokers, .p = p, .id = t->id};
    if (open_producer(t, err) != OK) {
        txn_free(t);
        return err->status;
    }
    *ret_txn = t;
    return OK;
}

enum status txn_start(struct txn *t, struct error *err)
{
    return init(t, START_TIMEOUT_MS, err);
}

void txn_claim(struct txn *t, txn_claim_fn *claim, void *ctx)
{
    t->claim = claim;
    t->claim_ctx = ctx;
}

bool txn_is_spent(const struct txn *t)
{
    return t->spent;
}

bool txn_is_open(const struct txn *t)
{
    return t->open;
}

rd_kafka_resp_err_t txn_code(const struct txn *t)
{
    return t->p.code;
}

size_t txn_refused(const struct txn *t, const size_t **ret_records)
{
    *ret_records = t->p.too_large;
    return t->p.n_too_large;
}

void txn_poll(struct txn *t)
{
    producer_poll(&t->p);
}

/* What librdkafka calls fatal: a fenced producer, or one that it has lost track of. */
static enum status fatal(struct txn *t, const char *what, const char *why, struct error *err)
{
    t->spent = t->claim != NULL;
    return err_set(err, t->spent ? ERR_RETRY : ERR_FATAL,
                   "%s as %s: %s: another instance took its place, or the transaction timed out", what, t->id, why);
}

/* What a failed call of the transaction API means for the caller; the transaction is not yet aborted. */
static enum status judge(struct txn *t, const rd_kafka_error_t *e, const char *what, struct error *err)
{
    t->p.code = rd_kafka_error_code(e);
    if (producer_is_refusal(t->p.code) && t->p.code != RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
        char why[CONF_WHY_CHARS]; /* names the topic, which e does not */

        conf_why(why);
        return conf_explain(err, t->p.code, t->p.brokers, strncmp(why, "Failed to add", 13) == 0 ? why : rd_kafka_error_string(e));
    }
    if (rd_kafka_error_is_fatal(e))
        return fatal(t, what, rd_kafka_error_string(e), err);
    if (rd_kafka_error_txn_requires_abort(e) || rd_kafka_error_is_retriable(e))
        return err_set(err, ERR_RETRY, "%s as %s: %s", what, t->id, rd_kafka_error_string(e));
    return err_set(err, ERR_FATAL, "%s as %s: %s", what, t->id, rd_kafka_error_string(e));
}

static enum status begin(struct txn *t, struct error *err)
{
    if (t->doomed || t->spent)
        return err_set(err, ERR_RETRY, "the transaction of %s must be aborted first", t->id);
    if (t->open)
        return OK;
    producer_clear(&t->p);
    {
        AUTO(kerror) e = rd_kafka_begin_transaction(t->p.client);

        if (e != NULL)
            return judge(t, e, "begin a transaction", err);
    }
    t->open = true;
    t->since_ms = 0;
    return OK;
}

enum status txn_put(struct txn *t, const struct log_put *put, size_t number, struct error *err)
{
    return txn_put_with(t, put, number, NULL, view_of(NULL, 0), err);
}

static enum status after_put(struct txn *t, enum status s, struct error *err)
{
    t->doomed = s != OK && s != ERR_RECORD;
    if (s == ERR_FATAL && rd_kafka_fatal_error(t->p.client, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        struct error e = *err;

        return fatal(t, "write", e.text, err);
    }
    return s;
}

enum status txn_put_with(struct txn *t, const struct log_put *put, size_t number, const char *header, struct view value,
                         struct error *err)
{
    enum status s = begin(t, err);

    return s == OK ? after_put(t, producer_put(&t->p, put, number, header, value, err), err) : s;
}

size_t txn_run(const struct txn *t, const struct log_put *puts, size_t n)
{
    return producer_run(&t->p, puts, n);
}

enum status txn_put_run(struct txn *t, const struct log_put *puts, size_t n, size_t number, size_t *ret_n, struct error *err)
{
    enum status s = begin(t, err);

    *ret_n = 0;
    return s == OK ? after_put(t, producer_put_run(&t->p, puts, n, number, ret_n, err), err) : s;
}

/* From here on a request that librdkafka repeats, because its connection broke or its answer was late, may arrive once more in
 * the next transaction of this epoch: an end would end that one, offsets would set it back. */
static void mark_asked(struct txn *t)
{
    if (t->since_ms == 0) {
        t->since_ms = clock_mono_ms();
        t->p.lost = false;
    }
}

/* Repeats while librdkafka says that the call may be resumed. NULL: done. */
static rd_kafka_error_t *send_offsets(struct txn *t, const rd_kafka_topic_partition_list_t *offsets,
                                      const rd_kafka_consumer_group_metadata_t *group)
{
    int64_t deadline = clock_mono_ms() + PRODUCER_DEADLINE_MS;
    rd_kafka_error_t *e;

    mark_asked(t);
    while ((e = rd_kafka_send_offsets_to_transaction(t->p.client, offsets, group, PRODUCER_CALL_MS)) != NULL &&
           rd_kafka_error_is_retriable(e) && !rd_kafka_error_txn_requires_abort(e) && clock_mono_ms() < deadline)
        rd_kafka_error_destroy(e);
    if (e != NULL && rd_kafka_error_code(e) == RD_KAFKA_RESP_ERR__STATE && SAFE(M_CAUSE_ASKED)) { /* it failed meanwhile: the same again says of what */
        rd_kafka_error_destroy(e);
        e = rd_kafka_send_offsets_to_transaction(t->p.client, offsets, group, PRODUCER_CALL_MS);
    }
    return e;
}

static rd_kafka_error_t *end(struct txn *t, rd_kafka_error_t *(*call)(rd_kafka_t *, int), bool *ret_unknown)
{
    int64_t began = clock_mono_ms();
    rd_kafka_error_t *e;

    mark_asked(t);
    while ((e = call(t->p.client, PRODUCER_CALL_MS)) != NULL && rd_kafka_error_is_retriable(e) &&
           !rd_kafka_error_txn_requires_abort(e) && clock_mono_ms() < began + PRODUCER_DEADLINE_MS)
        rd_kafka_error_destroy(e);
    (void)rd_kafka_poll(t->p.client, 0); /* error_cb: was a connection lost meanwhile? */
    *ret_unknown = (t->p.lost && SAFE(M_PRODUCER_RENEWED)) || clock_mono_ms() - t->since_ms > SLOW_MS ||
                   (e != NULL && rd_kafka_error_is_retriable(e) && !rd_kafka_error_txn_requires_abort(e));
    return e;
}

enum status txn_abort(struct txn *t, struct error *err)
{
    bool unknown;

    t->doomed = false;
    if (t->spent)
        return renew(t, "it is of no use any more, and the id is ours", err);
    if (!t->open)
        return OK;
    t->open = false;
    (void)FAIL("txn.in_abort", err);
    {
        AUTO(kerror) e = end(t, rd_kafka_abort_transaction, &unknown);

        if (e == NULL && !unknown)
            return OK;
        if (e != NULL && rd_kafka_error_is_fatal(e) && judge(t, e, "abort", err) == ERR_FATAL)
            return ERR_FATAL;
        /* whether or not it came through: a new producer's init ends it */
        return renew(t, e == NULL ? "an abort was slow or lost its coordinator" : rd_kafka_error_string(e), err);
    }
}

/* What an abort that fails leaves open, the next holder of the id ends, or the broker after the transaction's timeout. */
void txn_free(struct txn *t)
{
    if (t == NULL)
        return;
    if (t->open && !t->spent) {
        bool unknown;
        AUTO(kerror) ignored = end(t, rd_kafka_abort_transaction, &unknown);
    }
    producer_done(&t->p);
    free(t->id);
    free(t);
}

/* After a failure: the transaction is aborted, err keeps the first cause unless the abort is worse. */
static enum status give_up(struct txn *t, enum status s, enum txn_outcome *ret_outcome, struct error *err)
{
    struct error worse;
    rd_kafka_resp_err_t code = t->p.code;
    enum status then = OK;

    if (t->spent)
        *ret_outcome = TXN_UNKNOWN;
    producer_poll(&t->p); /* what failed may be a refused record's doing */
    if (t->p.refused != RD_KAFKA_RESP_ERR_NO_ERROR && producer_is_refusal(t->p.refused)) {
        code = t->p.refused;
        s = producer_refusal(&t->p, t->p.refused, t->p.refused_topic, err);
    }
    if (s != ERR_FATAL)
        then = txn_abort(t, &worse);
    if (then == OK && t->p.refused == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE && t->p.n_too_large == 0) {
        producer_shrink(&t->p);
        then = renew(t, "the broker refuses batches of the former's size", &worse);
    }
    if (then != OK)
        *err = worse;
    t->p.code = code;
    return then == OK ? s : then;
}

enum status txn_commit(struct txn *t, const rd_kafka_topic_partition_list_t *offsets,
                       const rd_kafka_consumer_group_metadata_t *group, enum txn_outcome *ret_outcome,
                       struct error *err)
{
    enum status s = OK;
    bool unknown = false;

    *ret_outcome = TXN_ABORTED;
    if (t->doomed)
        return give_up(t, err_set(err, ERR_RETRY, "a record of this transaction could not be put"), ret_outcome, err);
    s = begin(t, err);
    if (s != OK)
        return give_up(t, s, ret_outcome, err);
    if (FAIL("txn.before_offsets", err) != OK)
        return give_up(t, err->status, ret_outcome, err);
    if (offsets != NULL && offsets->cnt > 0) {
        AUTO(kerror) e = send_offsets(t, offsets, group);

        if (e != NULL)
            return give_up(t, judge(t, e, "send the input offsets", err), ret_outcome, err);
    }
    if (FAIL("txn.after_offsets", err) != OK)
        return give_up(t, err->status, ret_outcome, err);
    /* What waits behind a refused record is not sent any more, and a commit would wait for it until it times out. */
    (void)producer_settle(&t->p);
    if (t->p.refused != RD_KAFKA_RESP_ERR_NO_ERROR)
        return give_up(t, err_set(err, ERR_RETRY, "a record of this transaction was not taken"), ret_outcome, err);
    if (FAIL("txn.before_commit", err) != OK)
        return give_up(t, err->status, ret_outcome, err);
    {
        AUTO(kerror) e = end(t, rd_kafka_commit_transaction, &unknown);

        unknown |= FAIL("txn.after_commit", err) != OK; /* its answer was lost */
        if (e == NULL && !unknown) {
            t->open = false;
            *ret_outcome = TXN_COMMITTED;
            return OK;
        }
        if (e != NULL && (rd_kafka_error_is_fatal(e) || rd_kafka_error_txn_requires_abort(e)))
            return give_up(t, judge(t, e, "commit", err), ret_outcome, err);
        if (e != NULL && !unknown)
            return give_up(t, judge(t, e, "commit", err), ret_outcome, err);
        *ret_outcome = e == NULL ? TXN_COMMITTED : TXN_UNKNOWN;
        s = renew(t, e == NULL ? "a commit was slow or lost its coordinator" : rd_kafka_error_string(e), err);
    }
    if (s != OK)
        return s;
    return *ret_outcome == TXN_COMMITTED
               ? OK
               : err_set(err, ERR_RETRY, "the outcome of a commit as %s is to be learned from its offsets", t->id);
}
