/* test/sim/client_consumer.c: librdkafka's consumer: its place in the group, its callbacks, fetching. */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "kafka/kafka.h"
#include "test/sim/client.h"

/* ---- the group, on librdkafka's own thread ---- */

static void give_up(rd_kafka_t *rk)
{
    rk->owner->forgot_us = sim.now_us;
    rk->fatal = RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
    rk->lost = true;
    rk->membership = GIVEN_UP;
    client_op(rk, OP_ERROR, RD_KAFKA_RESP_ERR__FATAL);
    client_op(rk, OP_REVOKE, RD_KAFKA_RESP_ERR_NO_ERROR);
}

/* The application is asked to give back; once it has, the member joins again. */
static void revoke(rd_kafka_t *rk, bool lost)
{
    rk->lost |= lost;
    if (lost)
        rk->owner->forgot_us = sim.now_us;
    if (rk->membership == REVOKING)
        return;
    rk->membership = REVOKING;
    client_op(rk, OP_REVOKE, RD_KAFKA_RESP_ERR_NO_ERROR);
}

/* Its session is over by its own clock: it forgets what the group calls it, and joins again once the application has given back.
 * A heartbeat before that comes from nobody under its name. */
void client_forget(rd_kafka_t *rk)
{
    if (!rk->has_assignment || rk->membership == GIVEN_UP)
        return;
    rk->member_id = 0;
    revoke(rk, /* lost= */ true);
}

/* What a heartbeat's or a sync's error means. */
static void judge(rd_kafka_t *rk, rd_kafka_resp_err_t code)
{
    if (code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID) {
        give_up(rk);
        return;
    }
    if (code == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID)
        rk->member_id = 0;
    if (code != RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS)
        rk->generation = -1;
    if (rk->membership == STEADY || rk->membership == REVOKING)
        revoke(rk, code != RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS);
    else
        rk->membership = OUTSIDE;
}

/* Nobody has answered for a session: it takes itself for dropped, whoever has its name meanwhile. */
static bool session_is_over(rd_kafka_t *rk)
{
    if (rk->membership != STEADY || sim.now_us <= rk->heard_us + (int64_t)rk->conf.session_ms * 1000)
        return false;
    story("its session is over, as far as it can tell");
    client_forget(rk);
    return rk->membership == REVOKING;
}

/* Who was a member and joins as somebody new puts out who has its name: it must not have been there when this one looked. */
static rd_kafka_resp_err_t join(rd_kafka_t *rk)
{
    struct instance *me = rk->owner;
    const struct member *there = group_member(sim.broker, rk->group, rk->conf.instance);
    rd_kafka_resp_err_t code;

    if (rk->member_id == 0 && me->member_id != 0 && there && there->id != me->member_id &&
        (there->since_us <= me->forgot_us || there->since_us <= me->looked_us))
        fail("%s puts out the one that took its place", me->name);
    code = group_join(sim.broker, rk->group, rk->conf.instance, rk->subscribed, (int64_t)rk->conf.session_ms * 1000, &rk->member_id);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        me->member_id = rk->member_id;
    return code;
}

int64_t consumer_tick(rd_kafka_t *rk)
{
    const int64_t soon = sim.now_us + 30000, beat = sim.now_us + (int64_t)rk->conf.heartbeat_ms * 1000;
    struct broker *b = sim.broker;
    rd_kafka_resp_err_t code;

    if (rk->group < 0 || rk->membership == GIVEN_UP)
        return INT64_MAX;
    if (session_is_over(rk))
        return jitter_below(2) ? sim.now_us : soon; /* which comes first, an answer to the heartbeat or the application? */
    if (client_down())
        return beat < sim.away_until_us ? beat : sim.away_until_us;
    if (rk->membership == OUTSIDE) {
        code = join(rk);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            rk->membership = WAITING;
        else
            judge(rk, code);
        return sim.now_us + 1000;
    }
    if (rk->membership == WAITING) {
        code = group_sync(b, rk->group, rk->conf.instance, rk->member_id, &rk->generation, rk->assigned);
        if (code == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS) { /* another rebalance began meanwhile: joins again */
            (void)join(rk);
            return soon;
        }
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
            judge(rk, code);
            return soon;
        }
        rk->membership = STEADY;
        rk->lost = false;
        rk->heard_us = sim.now_us;
        client_op(rk, OP_ASSIGN, RD_KAFKA_RESP_ERR_NO_ERROR);
        return beat;
    }
    code = group_heartbeat(b, rk->group, rk->conf.instance, rk->member_id, rk->generation);
    rk->heard_us = sim.now_us;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        judge(rk, code);
    return beat;
}

/* ---- what the application calls ---- */

rd_kafka_resp_err_t rd_kafka_poll_set_consumer(rd_kafka_t *rk)
{
    (void)rk;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t rd_kafka_subscribe(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *topics)
{
    for (int i = 0; i < topics->cnt; i++)
        rk->subscribed[broker_topic(sim.broker, topics->elems[i].topic)] = true;
    rk->group = group_of(sim.broker, rk->conf.group);
    rk->tick_us = sim.now_us;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

int rd_kafka_assignment_lost(rd_kafka_t *rk)
{
    return rk->lost;
}

rd_kafka_resp_err_t rd_kafka_assign(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list)
{
    int how;

    (void)step_begin(STEP_ASSIGN, 50, &how);
    rk->n_fetched = 0;
    for (int i = 0; list && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *tp = &list->elems[i];

        rk->fetched = xrealloc(rk->fetched, (rk->n_fetched + 1) * sizeof(*rk->fetched));
        rk->fetched[rk->n_fetched++] = (struct fetched){.topic = broker_topic(sim.broker, tp->topic), .partition = tp->partition,
                                                        .pos = tp->offset < 0 ? 0 : tp->offset, .eof_at = -1};
    }
    if (list == NULL && rk->membership == REVOKING) {
        rk->membership = OUTSIDE;
        rk->has_assignment = false;
        memset(rk->assigned, 0, sizeof(rk->assigned));
        rk->tick_us = sim.now_us + 1000;
    }
    step_end(0);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static struct fetched *find(rd_kafka_t *rk, const rd_kafka_topic_partition_t *tp)
{
    for (size_t i = 0; i < rk->n_fetched; i++)
        if (rk->fetched[i].partition == tp->partition && rk->fetched[i].topic == broker_topic(sim.broker, tp->topic))
            return &rk->fetched[i];
    return NULL;
}

rd_kafka_error_t *rd_kafka_incremental_unassign(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        struct fetched *f = find(rk, &list->elems[i]);

        if (f)
            *f = rk->fetched[--rk->n_fetched];
    }
    return NULL;
}

static rd_kafka_resp_err_t set_paused(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, bool paused)
{
    for (int i = 0; i < list->cnt; i++) {
        struct fetched *f = find(rk, &list->elems[i]);

        if (f)
            f->paused = paused;
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t rd_kafka_pause_partitions(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list)
{
    return set_paused(rk, list, true);
}

rd_kafka_resp_err_t rd_kafka_resume_partitions(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list)
{
    return set_paused(rk, list, false);
}

/* ---- fetching ---- */

/* Records of one partition up to the last stable offset, then once that its end is reached. */
static size_t fetch_partition(rd_kafka_t *rk, struct fetched *f, rd_kafka_message_t **ret, size_t cap)
{
    const struct partition *p = &sim.broker->topics[f->topic].partitions[f->partition];
    int64_t end = rk->conf.committed_only ? p->lso : p->n;
    size_t n = 0;

    if (f->pos > p->n && !f->failed && cap) {
        f->failed = true;
        ret[n++] = client_message(f->topic, f->partition, f->pos, RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, NULL);
    }
    for (; f->pos < end && n < cap; f->pos++) {
        const struct record *r = &p->records[f->pos];

        if (r->kind == KIND_DATA && !r->gone && (r->fate != FATE_ABORTED || !rk->conf.committed_only)) {
            /* records move when their partition grows */
            struct record *copy = xmalloc(sizeof(*copy));

            *copy = *r;
            ret[n++] = client_message(f->topic, f->partition, f->pos, RD_KAFKA_RESP_ERR_NO_ERROR, copy);
        }
    }
    if (rk->conf.eof && f->pos == end && f->eof_at != end && n < cap) {
        f->eof_at = end;
        ret[n++] = client_message(f->topic, f->partition, end, RD_KAFKA_RESP_ERR__PARTITION_EOF, NULL);
    }
    return n;
}

static size_t fetch(rd_kafka_t *rk, rd_kafka_message_t **ret, size_t cap)
{
    size_t n = 0;

    if (client_down() || jitter_below(10) == 1)
        return 0;
    if (sim.schedule.jitter) {
        size_t some = (size_t[]){cap, cap, 1, 3, 10, 2}[jitter_below(6)];

        if (sim.schedule.jitter % 3 == 0) /* a run in which little comes at a time, so that transactions are open for long */
            some = 1 + jitter_below(2);
        cap = some < cap ? some : cap;
        rk->turn = (size_t)jitter_below(rk->n_fetched + 1);
    }
    for (size_t i = 0; i < rk->n_fetched && n < cap; i++) {
        struct fetched *f = &rk->fetched[(i + rk->turn) % rk->n_fetched];

        if (!f->paused)
            n += fetch_partition(rk, f, ret + n, cap - n);
    }
    return n;
}

ssize_t rd_kafka_consume_batch_queue(rd_kafka_queue_t *q, int timeout_ms, rd_kafka_message_t **ret, size_t cap)
{
    rd_kafka_t *rk = q->rk;
    struct instance *me = sim.me;
    int models = broker_topic(sim.broker, MODELS_TOPIC);
    enum step step = rk->group >= 0 ? STEP_TAKE : rk->n_fetched && rk->fetched[0].topic == models ? STEP_FOLLOW : STEP_READ;
    int how;
    enum fault fault = step_begin(step, timeout_ms == 0 ? 20 : 0, &how);
    size_t n = 0;

    if (fault == FAULT_LOST_ANSWER)
        client_lost(rk);
    if (fault == FAULT_SLOW)
        step_wait(6000000);
    client_serve(rk);
    if (fault == FAULT_NONE)
        n = fetch(rk, ret, cap);
    if (n == 0 && timeout_ms > 0) {
        /* where nothing happens for long, pauses grow: the machine is busy elsewhere */
        int64_t wait_ms = timeout_ms * (me->n_empty_takes < 18 ? 1 + me->n_empty_takes / 2 : 10);

        me->n_empty_takes++;
        step_wait(wait_ms * 1000);
        client_serve(rk);
        n = fetch(rk, ret, cap);
    }
    if (n)
        me->n_empty_takes = 0;
    step_end(n && step == STEP_TAKE && sim.schedule.jitter % 3 == 0 ? 8000 : 0);
    return (ssize_t)n;
}

/* ---- offsets ---- */

static rd_kafka_resp_err_t handle_committed(struct broker *b, struct request *r)
{
    rd_kafka_topic_partition_list_t *list = r->list;

    for (int i = 0; i < list->cnt; i++) {
        rd_kafka_topic_partition_t *tp = &list->elems[i];
        struct offset at;
        rd_kafka_resp_err_t code = group_fetch(b, r->group, broker_topic(b, tp->topic), tp->partition, r->stable, &at);

        if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
            return code;
        tp->offset = at.offset < 0 ? RD_KAFKA_OFFSET_INVALID : at.offset;
        free(tp->metadata);
        tp->metadata = at.offset < 0 || at.metadata[0] == '\0' ? NULL : xstrdup(at.metadata);
        tp->metadata_size = tp->metadata ? strlen(at.metadata) : 0;
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t rd_kafka_committed(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, int timeout_ms)
{
    struct request r = {.handle = handle_committed, .question = true, .stable = rk->conf.committed_only, .list = list};
    int how;

    r.group = rk->group < 0 ? group_of(sim.broker, rk->conf.group) : rk->group;

    for (int i = 0; i < list->cnt; i++)
        list->elems[i].err = RD_KAFKA_RESP_ERR_NO_ERROR;
    if (rk->membership == GIVEN_UP) { /* its group's part does not run any more */
        (void)step_begin(STEP_COMMITTED, (int64_t)timeout_ms * 1000, &how);
        step_end(0);
        return RD_KAFKA_RESP_ERR__TIMED_OUT;
    }
    return client_rpc(rk, STEP_COMMITTED, &r, timeout_ms);
}

struct rd_kafka_consumer_group_metadata_s {
    int group, member_id, generation;
    char instance[96];
};

rd_kafka_consumer_group_metadata_t *rd_kafka_consumer_group_metadata(rd_kafka_t *rk)
{
    rd_kafka_consumer_group_metadata_t *m = xcalloc(1, sizeof(*m));

    *m = (struct rd_kafka_consumer_group_metadata_s){.group = rk->group, .member_id = rk->member_id, .generation = rk->generation};
    snprintf(m->instance, sizeof(m->instance), "%s", rk->conf.instance);
    return m;
}

void rd_kafka_consumer_group_metadata_destroy(rd_kafka_consumer_group_metadata_t *m)
{
    (void)m; /* a mutant keeps one */
}

int32_t rd_kafka_consumer_group_metadata_generation_id(const rd_kafka_consumer_group_metadata_t *m);
int32_t rd_kafka_consumer_group_metadata_generation_id(const rd_kafka_consumer_group_metadata_t *m)
{
    return m->generation;
}

void client_member(const rd_kafka_consumer_group_metadata_t *m, struct request *r)
{
    r->group = m->group;
    r->member_id = m->member_id;
    r->generation = m->generation;
    r->id = xstrdup(m->instance);
}

rd_kafka_resp_err_t rd_kafka_consumer_close(rd_kafka_t *rk)
{
    int how;

    (void)rk;
    (void)step_begin(STEP_CLOSE, 400, &how);
    step_end(0);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Its group hears nothing of it. */
void rd_kafka_destroy_flags(rd_kafka_t *rk, int flags)
{
    (void)flags;
    (void)rd_kafka_consumer_close(rk);
    rk->group = -1;
    rk->tick_us = INT64_MAX;
    rd_kafka_destroy(rk);
}
