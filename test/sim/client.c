/* test/sim/client.c: librdkafka's clients: configuration, what waits for a poll, requests and their faults. */
#include "test/sim/client.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"

#define LONG_SESSION_MS 60000

/* ---- configuration ---- */

rd_kafka_conf_t *rd_kafka_conf_new(void)
{
    rd_kafka_conf_t *c = xcalloc(1, sizeof(*c));

    c->session_ms = 45000;
    c->heartbeat_ms = 3000;
    c->txn_timeout_ms = 60000;
    c->committed_only = true;
    return c;
}

void rd_kafka_conf_destroy(rd_kafka_conf_t *c)
{
    free(c);
}

rd_kafka_conf_res_t rd_kafka_conf_set(rd_kafka_conf_t *c, const char *name, const char *value, char *text, size_t n)
{
    (void)text, (void)n;
    if (strcmp(name, "group.id") == 0)
        snprintf(c->group, sizeof(c->group), "%s", value);
    else if (strcmp(name, "group.instance.id") == 0)
        snprintf(c->instance, sizeof(c->instance), "%s", value);
    else if (strcmp(name, "transactional.id") == 0)
        snprintf(c->txn_id, sizeof(c->txn_id), "%s", value);
    else if (strcmp(name, "session.timeout.ms") == 0)
        c->session_ms = sim.schedule.long_session ? LONG_SESSION_MS : atoi(value);
    else if (strcmp(name, "heartbeat.interval.ms") == 0)
        c->heartbeat_ms = atoi(value);
    else if (strcmp(name, "transaction.timeout.ms") == 0)
        c->txn_timeout_ms = atoi(value);
    else if (strcmp(name, "enable.partition.eof") == 0)
        c->eof = strcmp(value, "true") == 0;
    else if (strcmp(name, "isolation.level") == 0)
        c->committed_only = strcmp(value, "read_committed") == 0;
    return RD_KAFKA_CONF_OK;
}

rd_kafka_conf_res_t rd_kafka_conf_get(const rd_kafka_conf_t *c, const char *name, char *value, size_t *n)
{
    snprintf(value, *n, "%d", strcmp(name, "session.timeout.ms") == 0 ? c->session_ms : 1000000); /* else message.max.bytes: no other is asked for */
    return RD_KAFKA_CONF_OK;
}

void rd_kafka_conf_set_log_cb(rd_kafka_conf_t *c, void (*cb)(const rd_kafka_t *, int, const char *, const char *))
{
    (void)c, (void)cb;
}

void rd_kafka_conf_set_dr_msg_cb(rd_kafka_conf_t *c, void (*cb)(rd_kafka_t *, const rd_kafka_message_t *, void *))
{
    c->delivery = cb;
}

void rd_kafka_conf_set_error_cb(rd_kafka_conf_t *c, void (*cb)(rd_kafka_t *, int, const char *, void *))
{
    c->error = cb;
}

void rd_kafka_conf_set_rebalance_cb(rd_kafka_conf_t *c, void (*cb)(rd_kafka_t *, rd_kafka_resp_err_t,
                                                                   rd_kafka_topic_partition_list_t *, void *))
{
    c->rebalance = cb;
}

void rd_kafka_conf_set_opaque(rd_kafka_conf_t *c, void *opaque)
{
    c->opaque = opaque;
}

rd_kafka_t *rd_kafka_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, char *text, size_t n)
{
    rd_kafka_t *rk = xcalloc(1, sizeof(*rk));

    (void)text, (void)n;
    rk->conf = *conf;
    rk->is_producer = type == RD_KAFKA_PRODUCER;
    rk->is_plain = rk->is_producer && conf->txn_id[0] == '\0';
    rk->pid = rk->is_plain ? broker_init_plain(sim.broker) : -1;
    rk->owner = sim.me;
    rk->tick_us = INT64_MAX;
    rk->generation = -1;
    rk->group = -1;
    rk->next = sim.me->clients;
    sim.me->clients = rk;
    rd_kafka_conf_destroy(conf);
    return rk;
}

void rd_kafka_destroy(rd_kafka_t *rk)
{
    for (struct rd_kafka_s **p = &rk->owner->clients; *p; p = &(*p)->next)
        if (*p == rk) {
            *p = rk->next;
            break;
        }
    free(rk->queue);
    free(rk->fetched);
    free(rk);
}

const char *client_group_instance(const struct rd_kafka_s *rk)
{
    return rk->membership == OUTSIDE && rk->group < 0 ? NULL : rk->conf.instance;
}

const char *client_txn_id(const struct rd_kafka_s *rk)
{
    return rk->is_producer && !rk->is_plain ? rk->conf.txn_id : NULL;
}

int client_group(const struct rd_kafka_s *rk)
{
    return rk->group;
}

int64_t client_tick(struct rd_kafka_s *rk)
{
    if (rk->tick_us <= sim.now_us)
        rk->tick_us = consumer_tick(rk);
    return rk->tick_us;
}

/* ---- what waits for a poll ---- */

void client_op(rd_kafka_t *rk, int kind, rd_kafka_resp_err_t code)
{
    if (rk->n_ops < OPS_MAX)
        rk->ops[rk->n_ops++] = (struct op){kind, code};
}

void client_lost(struct rd_kafka_s *rk)
{
    client_op(rk, OP_ERROR, RD_KAFKA_RESP_ERR__TRANSPORT);
    client_op(rk, OP_ERROR, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN);
}

void client_beat(struct rd_kafka_s *rk)
{
    rk->tick_us = sim.now_us;
}

static void call_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);

    for (size_t t = 0; t < sim.broker->n_topics; t++)
        for (int p = 0; p < PARTITIONS_MAX; p++)
            if (rk->assigned[t][p])
                rd_kafka_topic_partition_list_add(list, sim.broker->topics[t].name, p);
    story("is told to %s %d partitions%s", code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS ? "take" : "give back", list->cnt,
          rk->lost ? " (lost)" : "");
    rk->conf.rebalance(rk, code, list, rk->conf.opaque);
    rd_kafka_topic_partition_list_destroy(list);
}

void client_serve(rd_kafka_t *rk)
{
    while (rk->n_ops) {
        struct op op = rk->ops[0];

        memmove(&rk->ops[0], &rk->ops[1], --rk->n_ops * sizeof(op));
        if (op.kind == OP_ERROR && rk->conf.error)
            rk->conf.error(rk, op.code, rd_kafka_err2str(op.code), rk->conf.opaque);
        else if (op.kind == OP_ASSIGN) {
            rk->has_assignment = true;
            call_rebalance(rk, RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS);
        } else if (op.kind == OP_REVOKE)
            call_rebalance(rk, RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS);
    }
}

/* ---- requests ---- */

bool client_down(void)
{
    return sim.now_us < sim.away_until_us;
}

/* Asks again, as librdkafka does by itself, until there is an answer or the call's time is over. */
static rd_kafka_resp_err_t answer(struct request *r, int64_t deadline_us)
{
    for (;;) {
        rd_kafka_resp_err_t code;

        while (client_down() && sim.now_us < deadline_us)
            step_wait(sim.away_until_us < deadline_us ? sim.away_until_us - sim.now_us : deadline_us - sim.now_us);
        if (sim.now_us >= deadline_us)
            return RD_KAFKA_RESP_ERR__TIMED_OUT;
        code = r->handle(sim.broker, r);
        if (code != RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS && code != RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT)
            return code;
        if (sim.now_us + 20000 >= deadline_us)
            return code == RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT ? code : RD_KAFKA_RESP_ERR__TIMED_OUT;
        step_wait(20000);
    }
}

static rd_kafka_resp_err_t faulty(rd_kafka_t *rk, enum fault fault, int how, struct request *r, int64_t deadline_us)
{
    static const int64_t late_us[] = {3000, 60000, 400000, 4000000};

    switch (fault) {
    case FAULT_LOST_ANSWER:
        (void)r->handle(sim.broker, r);
        break;
    case FAULT_LATE:
        sched_post(r, late_us[how]);
        break;
    case FAULT_SLOW:
        step_wait(6000000);
        return sim.now_us >= deadline_us ? RD_KAFKA_RESP_ERR__TIMED_OUT : answer(r, deadline_us);
    case FAULT_TIMEOUT:
        if (how == 0)
            (void)r->handle(sim.broker, r);
        else if (how > 1 && !r->question)
            sched_post(r, late_us[how] + (how == 3 ? deadline_us - sim.now_us : 0));
        step_wait(deadline_us - sim.now_us);
        return RD_KAFKA_RESP_ERR__TIMED_OUT;
    case FAULT_RETRIABLE:
        rk->is_behind = r->of_leader && how % 2;
        step_wait(100000);
        return answer(r, deadline_us);
    default:
        break;
    }
    client_lost(rk); /* its connection broke: it asks again on another */
    step_wait(2000);
    return answer(r, deadline_us);
}

rd_kafka_resp_err_t client_rpc(rd_kafka_t *rk, enum step step, struct request *r, int timeout_ms)
{
    int how = 0;
    enum fault fault = step_begin(step, 400, &how);
    int64_t deadline_us = sim.now_us + (int64_t)timeout_ms * 1000;
    rd_kafka_resp_err_t code;

    if (fault == FAULT_MARKERS)
        r->spread_us = (int64_t[]){50000, 300000, 1000000, 3000000}[how];
    if (fault == FAULT_NONE || fault == FAULT_MARKERS)
        code = answer(r, deadline_us);
    else if (fault == FAULT_ABORTABLE)
        code = RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING;
    else
        code = faulty(rk, fault, how, r, deadline_us);
    step_end(400);
    return code;
}
