/* common/stage/restore.c */
/*
 * A task's state and positions, back from the changelog (changelog.c says what its records are).
 *
 * Restore  every committed record up to the high watermark; then inputs are read from `low`; what a key already reflects is
 *          skipped, the rest up to the checkpoint's cursors updates state without output. State that other features, another
 *          number of tasks or a later epoch made is refused; that of an earlier epoch is left out, and built anew from the
 *          inputs' beginnings up to the checkpoint's cursors. The outputs of what was taken are safe, also where they go out
 *          without a transaction: a checkpoint is committed after them.
 * Bounds   what the records say is from outside: whatever cannot be is an error that names it (docs/adr/0003), before it is an index.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/log.h"
#include "base/mutant.h"
#include "stage/checkpoint.h"
#include "wire/frame.h"

#define AHEAD 16

struct restorings;

struct restoring {
    struct stage *stage;
    struct task *task;
    struct checkpoint last;
    bool found;
    size_t n, n_bytes;
    struct bytes positions; /* of the last key, as they were encoded */
    int64_t taken[INPUTS_MAX]; /* as committed with the offsets */
    struct error refused;      /* of the first value that cannot be this stage's */
    struct restorings *all;
};

/* All tasks at once: their records come as the log has them at hand. */
struct restorings {
    struct restoring *all, *now;
    size_t n;
    uint64_t hash; /* of the key that is restored now */
};

/* Keys written by one commit carry the same positions, byte for byte: read and kept once. False: they cannot be read. */
static bool key_positions(struct restoring *re, struct avro_reader *r, uint32_t *ret_reflects)
{
    struct task *t = re->task;
    struct positions p;
    const uint8_t *from = r->p;
    size_t same = re->positions.n;

    if (same && (size_t)(r->end - r->p) >= same && memcmp(r->p, re->positions.data, same) == 0) {
        r->p += same;
    } else {
        if (!checkpoint_positions(re->stage, r, &p)) {
            free(p.cursors);
            return false;
        }
        bytes_clear(&re->positions);
        bytes_append(&re->positions, from, (size_t)(r->p - from));
        t->restored = xrealloc(t->restored, (t->n_restored + 1) * sizeof(*t->restored));
        t->restored[t->n_restored++] = p;
    }
    *ret_reflects = (uint32_t)t->n_restored;
    return true;
}

/* A key's value of one chunk is checked while it is at hand. */
static enum status put_back(struct restoring *re, struct view key, int64_t index, int64_t chunks, struct view chunk, uint32_t reflects,
                            struct error *err)
{
    const struct stage *s = re->stage;
    struct state *state = re->task->state;
    struct entry *e = state_get_hashed(state, key, re->all->hash, err);

    if (e == NULL || state_restore(state, e, index, chunks, chunk, reflects, err) != OK)
        return ERR_FATAL;
    /* Other features have other values: the checkpoint, which may come later, says whether that is why. */
    if (chunks == 1 && s->worker->check && re->refused.status == OK)
        (void)s->worker->check(s->ctx, view_of(e->value, e->n_bytes), &re->refused);
    return OK;
}

static enum status get_key(struct restoring *re, struct view key, int64_t index, int64_t chunks, struct avro_reader *r, struct error *err)
{
    const uint8_t *said = (const uint8_t *)key.data + key.n - 4;
    uint32_t reflects;
    struct view chunk;
    int64_t n;

    if (!key_positions(re, r, &reflects))
        return err_set(err, ERR_FATAL, "`positions` is cut short, out of order, or of an input that the stage does not have");
    if (!avro_get_block(r, &n) || n != 0 || !avro_get_bytes(r, &chunk))
        return err_set(err, ERR_FATAL, "a key's record has `low`, or is cut short");
    if (index != ((int64_t)said[0] << 24 | said[1] << 16 | said[2] << 8 | said[3]))
        return err_set(err, ERR_FATAL, "`index` is %" PRId64 ", and another in the record's key", index);
    re->n++;
    return put_back(re, view_of(key.data, key.n - 4), index, chunks, chunk, reflects, err);
}

static enum status get_record(struct restoring *re, struct view key, struct avro_reader *r, struct error *err)
{
    struct checkpoint c = {0};
    int64_t index, chunks;

    if (!avro_get_long(r, &c.epoch) || !avro_get_long(r, &index) || !avro_get_long(r, &chunks))
        return err_set(err, ERR_FATAL, "it is cut short");
    if (key.n != 4) /* of another epoch: the last checkpoint says whether that is right */
        return c.epoch == re->stage->def->epoch || !SAFE(M_EPOCH_ALONE) ? get_key(re, key, index, chunks, r, err) : OK;
    if (!checkpoint_positions(re->stage, r, &c.positions))
        (void)err_set(err, ERR_FATAL, "`positions` is cut short, out of order, or of an input that the stage does not have");
    else if (checkpoint_get(re->stage, re->task, r, &c, err) == OK) {
        free(re->last.positions.cursors);
        re->last = c;
        re->found = true;
        return OK;
    }
    free(c.positions.cursors);
    return err_wrap(err, "the checkpoint");
}

static struct restoring *restoring_of(struct restorings *rs, int task)
{
    for (size_t i = 0; i < rs->n && rs->now->task->id != task; i++)
        rs->now = &rs->all[i];
    return rs->now;
}

static enum status restore_one(struct restoring *re, const struct log_kept *kept, struct error *err)
{
    struct avro_reader r;
    struct frame f;

    if (FAIL("changelog.restoring", err) != OK)
        return err->status;
    re->n_bytes += kept->key.n + kept->value.n;
    if (kept->key.data == NULL || kept->key.n < 4 || kept->value.data == NULL)
        return OK;
    if (frame_parse(kept->value, &f, err) != OK) {
        err->status = ERR_FATAL;
        return err_wrap(err, "a record that no Millrace stage wrote");
    }
    r = (struct avro_reader){f.body.data, f.body.data + f.body.n};
    return get_record(re, kept->key, &r, err) == OK ? OK : err_wrap(err, "a record cannot be restored");
}

static struct view state_key(const struct log_kept *kept)
{
    return kept->key.n < 4 ? view_of("", 0) : view_of(kept->key.data, kept->key.n - 4);
}

/* What several keys need from memory comes near before it is looked at. */
static enum status restore_some(void *ctx, const struct log_kept *kept, size_t n, struct error *err)
{
    struct restorings *rs = ctx;
    uint64_t hashes[AHEAD];

    ops_beat(rs->all->stage->ops); /* a long restore is no dead loop */
    for (size_t i = 0; i < n; i++) {
        struct restoring *re;

        if (i % AHEAD == 0) {
            for (size_t k = i; k < n && k < i + AHEAD; k++) {
                const struct state *state = restoring_of(rs, kept[k].partition)->task->state;

                hashes[k - i] = state_hash(state, state_key(&kept[k]));
                state_expect(state, hashes[k - i]);
            }
            for (size_t k = i; k < n && k < i + AHEAD; k++)
                state_expect_entry(restoring_of(rs, kept[k].partition)->task->state, hashes[k - i]);
        }
        re = restoring_of(rs, kept[i].partition);
        rs->hash = hashes[i % AHEAD];
        if (restore_one(re, &kept[i], err) != OK)
            return err_wrap(err, "changelog %s/%d", re->stage->changelog, kept[i].partition);
    }
    return OK;
}

/* Never on with state that does not match. */
static enum status check_state(const struct restoring *re, struct error *err)
{
    const struct stage *s = re->stage;
    const struct checkpoint *c = &re->last;
    int task = re->task->id, epoch = s->def->epoch;

    for (size_t i = 0; i < s->n_inputs; i++)
        if (re->taken[i] > (re->found ? c->taken[i] : 0))
            return err_set(err, ERR_FATAL, "%s/%d: its state reflects %" PRId64 " records of %s, but %" PRId64 " are committed: "
                           "records of the changelog were lost (made anew, or truncated), and what was put out cannot be told any "
                           "more; make the pipeline under a new name, with topics of its own", s->changelog, task,
                           re->found ? c->taken[i] : 0, s->inputs[i].topic->broker_name, re->taken[i]);
    if (!re->found && state_n_keys(re->task->state) != 0)
        return err_set(err, ERR_FATAL, "%s/%d: it has keys and no checkpoint: records of the changelog were lost (deleted, or truncated); "
                       "give stage %s \"epoch\": %d: it builds its state anew", s->changelog, task, s->def->name, epoch + 1);
    if (!re->found)
        return OK;
    if (c->tasks != s->n_tasks_all)
        return err_set(err, ERR_FATAL, "%s/%d: its state is of one of %d tasks, the inputs have %d partitions now: keys lie "
                       "elsewhere; make the pipeline under a new name, with topics of its own", s->changelog, task, c->tasks,
                       s->n_tasks_all);
    if (c->epoch > epoch)
        return err_set(err, ERR_FATAL, "%s/%d: its state is of epoch %" PRId64 ", the pipeline file says %d: take the file that "
                       "the stage ran by last", s->changelog, task, c->epoch, epoch);
    if (c->epoch == epoch && c->layout != STATE_LAYOUT)
        return err_set(err, ERR_FATAL, "%s/%d: its state was written by another version of Millrace (layout %d, this one has %d): "
                       "run that one, or give stage %s \"epoch\": %d: it builds its state anew", s->changelog, task, c->layout, STATE_LAYOUT,
                       s->def->name, epoch + 1);
    if (c->epoch == epoch && strcmp(c->feature_set, stage_set(s)) != 0)
        return err_set(err, ERR_FATAL, "%s/%d: its state was made by the features %s, the pipeline file has others (%s): take the "
                       "former back, or give stage %s \"epoch\": %d: it builds its state anew", s->changelog, task, c->feature_set,
                       stage_set(s), s->def->name, epoch + 1);
    if (re->refused.status != OK)
        *err = re->refused;
    if (c->epoch == epoch && (re->refused.status != OK || state_restored(re->task->state, s->worker->check, s->ctx, err) != OK))
        return err_wrap(err, "%s/%d: its state is damaged, or records of the changelog were lost (give stage %s \"epoch\": %d: it builds "
                        "its state anew)", s->changelog, task, s->def->name, epoch + 1);
    if (c->epoch == epoch && (int64_t)state_n_keys(re->task->state) != c->keys)
        return err_set(err, ERR_FATAL, "%s/%d: it has %zu keys, %" PRId64 " were written: records of the changelog were lost "
                       "(deleted, or truncated); give stage %s \"epoch\": %d: it builds its state anew", s->changelog, task,
                       state_n_keys(re->task->state), c->keys, s->def->name, epoch + 1);
    return OK;
}

static void apply_checkpoint(struct task *t, const struct stage *s, const struct checkpoint *c)
{
    bool anew = c->epoch < s->def->epoch;

    t->at = c->at;
    t->due = c->due;
    if (anew) { /* of other keys, perhaps */
        t->due.from = 0;
        t->due.replay_at = INT64_MIN;
    }
    t->marked_at = s->def->at_least_once ? INT64_MIN : c->marked_at; /* at least once, the last marks may not have left */
    for (size_t i = 0; i < s->n_inputs; i++) {
        struct task_input *in = &t->inputs[i];

        in->next_offset = anew && SAFE(M_ANEW_WHOLE) ? -1 : c->low[i];
        in->n_taken = c->taken[i];
        in->merge.epoch = in->merge.low_epoch = anew ? 0 : c->upstream_epoch[i];
    }
    for (size_t i = 0; i < c->positions.n; i++) {
        const struct cursor *cur = &c->positions.cursors[i];
        struct channel *ch = merge_channel(&t->inputs[cur->input].merge, cur->task);

        ch->next_offset = cur->offset;
        if (cur->offset > t->inputs[cur->input].replay_to)
            t->inputs[cur->input].replay_to = cur->offset;
        if (!anew && cur->task != CHANNEL_FOREIGN)
            ch->now = ch->low = (struct said){cur->at, cur->record_at, cur->idle};
    }
    t->anew = anew;
    if (!anew)
        return;
    checkpoint_forget_origins(t, s->n_inputs); /* built anew as well */
    log_info("state_anew", "task=%d epoch=%d before=%" PRId64, t->id, s->def->epoch, c->epoch);
}

/* Nothing is kept between records: whoever is further says where to go on. The group's offsets may have been set forward, and Kafka may
 * have forgotten them (docs/adr/0003). */
static void apply_positions(struct task *t, const struct stage *s, const struct checkpoint *c)
{
    for (size_t i = 0; i < s->n_inputs; i++) {
        struct task_input *in = &t->inputs[i];

        if (c->low[i] <= in->committed)
            continue;
        in->next_offset = c->low[i];
        in->n_taken = c->taken[i];
    }
    t->at = c->at > t->at ? c->at : t->at;
}

static void tell_forgotten(const struct restoring *re)
{
    const struct task *t = re->task;

    for (size_t i = 0; i < re->stage->n_inputs && re->found; i++)
        if (t->inputs[i].committed < 0 && re->last.low[i] > 0)
            log_warn("offsets_forgotten", "group=%s.%s topic=%s partition=%d goes_on=%" PRId64, re->stage->pipeline->name, re->stage->def->name,
                     re->stage->inputs[i].topic->broker_name, t->id, re->last.low[i]);
}

static enum status get_committed(struct restoring *re, struct error *err)
{
    struct stage *s = re->stage;
    struct task *t = re->task;
    struct log_position at[INPUTS_MAX];
    int64_t progress;

    if (s->log->ops->committed(s->log, t->id, at, err) != OK)
        return err_wrap(err, "committed offsets of task %d", t->id);
    for (size_t i = 0; i < s->n_inputs; i++) {
        struct task_input *ti = &t->inputs[i];

        ti->next_offset = ti->committed = at[i].offset;
        if (at[i].offset >= 0 &&
            sscanf(at[i].metadata, "{\"taken\":%" SCNd64 ",\"at\":%" SCNd64, &re->taken[i], &progress) == 2) {
            ti->n_taken = re->taken[i];
            ti->committed_at = progress;
            if (progress > t->at)
                t->at = progress;
        }
    }
    return OK;
}

static enum status take_up(struct restoring *re, struct error *err)
{
    struct stage *s = re->stage;
    struct task *t = re->task;

    s->contradicted = s->stateful && check_state(re, err) != OK;
    if (s->contradicted)
        return err->status;
    tell_forgotten(re);
    if (re->found && s->stateful)
        apply_checkpoint(t, s, &re->last);
    else if (re->found)
        apply_positions(t, s, &re->last);
    for (size_t i = 0; i < s->n_inputs; i++)
        if (s->log->ops->seek(s->log, (int)i, t->id, t->inputs[i].next_offset, err) != OK)
            return err_wrap(err, "seek %s partition %d to %" PRId64, s->inputs[i].topic->broker_name, t->id,
                            t->inputs[i].next_offset);
    if (!s->stateful)
        t->marked_at = t->at;
    metrics_add(&s->metrics, METRIC_RESTORES, 0, 1);
    log_info("task_restored", "task=%d state_records=%zu changelog_bytes=%zu keys=%zu bytes=%zu", t->id, re->n, re->n_bytes,
             state_n_keys(t->state), state_bytes(t->state));
    return FAIL("changelog.restored", err);
}

static enum status restore_all(struct stage *s, struct restorings *rs, struct error *err)
{
    int *partitions = arena_alloc(&s->scratch, (rs->n + 1) * sizeof(*partitions));

    for (size_t i = 0; i < rs->n; i++) {
        partitions[i] = rs->all[i].task->id;
        if (get_committed(&rs->all[i], err) != OK)
            return err->status;
    }
    if (s->has_changelog && rs->n && s->log->ops->restore(s->log, s->changelog, partitions, rs->n, restore_some, rs, err) != OK)
        return err->status;
    for (size_t i = 0; i < rs->n; i++)
        if (take_up(&rs->all[i], err) != OK)
            return err_wrap(err, "task %d", rs->all[i].task->id);
    return OK;
}

enum status changelog_restore(struct stage *s, struct error *err)
{
    struct restorings rs = {.n = s->n_tasks};
    enum status st;

    arena_reset(&s->scratch);
    s->contradicted = false;
    rs.all = rs.now = arena_zalloc(&s->scratch, (rs.n + 1) * sizeof(*rs.all));
    for (size_t i = 0; i < rs.n; i++)
        rs.all[i] = (struct restoring){.stage = s, .task = s->tasks[i], .positions = BYTES_EMPTY, .all = &rs};
    st = restore_all(s, &rs, err);
    for (size_t i = 0; i < rs.n; i++) {
        free(rs.all[i].last.positions.cursors);
        bytes_done(&rs.all[i].positions);
    }
    return st == OK ? OK : err_wrap(err, "restore");
}

void changelog_forget(struct task *t)
{
    for (size_t i = 0; i < t->n_restored; i++)
        free(t->restored[i].cursors);
    free(t->restored);
    t->restored = NULL;
    t->n_restored = 0;
}

bool changelog_reflects(const struct task *t, const struct entry *e, int input, int task, int64_t offset)
{
    const struct positions *p;

    if (e->reflects == 0)
        return false;
    p = &t->restored[e->reflects - 1];
    for (size_t i = 0; i < p->n; i++)
        if (p->cursors[i].input == input && p->cursors[i].task == task)
            return offset < p->cursors[i].offset;
    return false;
}
