/* test/sim/schedule.c: which faults strike where: drawn from a seed, printed, read again. */
#include <stdio.h>
#include <stdlib.h>

#include "base/rand.h"
#include "test/sim/sim.h"

const char *const step_names[N_STEPS] = {"ask",  "ends", "init",    "committed", "assign", "take", "read", "follow", "swap",
                                         "put",  "send", "offsets", "commit",    "abort",  "nap",  "close"};
const char *const fault_names[N_FAULTS] = {"none",  "kill",    "kill_after",   "stop",        "zombie", "leave", "join", "epoch",
                                           "kick", "forget", "ghost", "undecided", "session", "fence",   "txn_timeout",  "compact",     "away",   "down", "lost_request",
                                           "lost_answer", "late", "slow", "timeout", "retriable", "abortable", "markers"};

static bool is_request(enum step step)
{
    return step <= STEP_COMMITTED || (step >= STEP_SEND && step <= STEP_ABORT);
}

static bool is_fetch(enum step step)
{
    return step == STEP_TAKE || step == STEP_READ || step == STEP_FOLLOW;
}

const char *schedule_cannot(enum step step, enum fault fault)
{
    if (fault >= FAULT_LOST_REQUEST && fault <= FAULT_MARKERS && !is_request(step) && !is_fetch(step))
        return "it asks the broker nothing";
    if (is_fetch(step) && fault >= FAULT_LOST_REQUEST && fault != FAULT_LOST_ANSWER && fault != FAULT_SLOW)
        return "a fetch changes nothing: lost_answer and slow say it all";
    if (fault == FAULT_LATE && (step == STEP_ASK || step == STEP_ENDS || step == STEP_COMMITTED))
        return "a question that arrives twice changes nothing";
    if (fault == FAULT_ABORTABLE && step != STEP_SEND && step != STEP_OFFSETS && step != STEP_COMMIT)
        return "no transaction can fail there";
    if (fault == FAULT_MARKERS && step != STEP_COMMIT && step != STEP_ABORT)
        return "no marker is written";
    if (fault == FAULT_LEAVE && step == STEP_CLOSE)
        return "it is leaving";
    return NULL;
}

/* A stage that comes to this step, where one does. */
static int draw_stage(struct rand *r, int counts[STAGES_MAX][N_STEPS], enum step step)
{
    int stage = (int)rand_below(r, (uint64_t)world_stages());

    for (int i = 0; i < world_stages() && counts[stage][step] == 0; i++)
        stage = (stage + 1) % world_stages();
    return stage;
}

static void draw_item(struct rand *r, const bool *on, int counts[STAGES_MAX][N_STEPS], struct item *it)
{
    do {
        it->fault = (enum fault)(1 + rand_below(r, N_FAULTS - 1));
        it->step = rand_below(r, 12) == 0 ? STEP_SWAP : (enum step)rand_below(r, N_STEPS); /* few models, few swaps */
    } while (!on[it->fault] || schedule_cannot(it->step, it->fault));
    it->stage = draw_stage(r, counts, it->step);
    it->how = (int)rand_below(r, 4);
    it->nth = 1 + (int)rand_below(r, (uint64_t)counts[it->stage][it->step] + 2);
    it->then = rand_below(r, 2) == 0;
    if (it->then) { /* soon: one in two within the next 2, one in four within the next 4, ... */
        uint64_t far = UINT64_C(2) << rand_below(r, 8), all = (uint64_t)counts[it->stage][it->step] + 1;

        it->nth = 1 + (int)rand_below(r, far < all ? far : all);
    }
}

/* Faults that are harmless alone and not together, as they were met or feared: the second is drawn close behind the first. */
static void draw_pair(struct rand *r, int counts[STAGES_MAX][N_STEPS], struct schedule *s)
{
    static const struct {
        enum fault first, second;
        enum step at, then;
        int how, then_how, far; /* -1: any */
    } pairs[] = {
        /* a dead writer's open transaction, its heir dies too: restore behind it */
        {FAULT_KILL, FAULT_KILL_AFTER, STEP_OFFSETS, STEP_COMMIT, 3, 0, 6},
        {FAULT_KILL, FAULT_KILL_AFTER, STEP_COMMIT, STEP_COMMIT, 3, 0, 6},
        /* stopped while it restores, it says late what its successor has long said better */
        {FAULT_ZOMBIE, FAULT_STOP, STEP_ENDS, STEP_CLOSE, -1, 0, 1},
        /* a late end or late offsets meet the next transaction, and that is not finished */
        {FAULT_LATE, FAULT_KILL, STEP_COMMIT, STEP_SEND, -1, -1, 32},
        {FAULT_LATE, FAULT_KILL, STEP_COMMIT, STEP_OFFSETS, -1, -1, 3},
        {FAULT_LATE, FAULT_KILL, STEP_COMMIT, STEP_TAKE, -1, -1, 32},
        /* it has lost its place and knows it, then others take it, then it goes on */
        {FAULT_KICK, FAULT_STOP, STEP_SEND, STEP_OFFSETS, 2, 3, 1},
        {FAULT_KICK, FAULT_STOP, STEP_PUT, STEP_OFFSETS, 2, 3, 1},
        /* out of reach for longer than its session, with nothing but state to commit: others take the task */
        {FAULT_AWAY, FAULT_COMPACT, STEP_PUT, STEP_TAKE, 3, -1, 32},
        /* the state is built anew, and before that is done, or its first checkpoint, it dies; or others share the work */
        {FAULT_EPOCH, FAULT_KILL, STEP_COMMIT, STEP_TAKE, -1, -1, 16},
        {FAULT_EPOCH, FAULT_KILL, STEP_COMMIT, STEP_COMMIT, -1, -1, 8},
        {FAULT_EPOCH, FAULT_KILL_AFTER, STEP_COMMIT, STEP_COMMIT, -1, -1, 8},
        {FAULT_EPOCH, FAULT_JOIN, STEP_TAKE, STEP_TAKE, -1, -1, 16},
        {FAULT_EPOCH, FAULT_ZOMBIE, STEP_TAKE, STEP_COMMIT, -1, -1, 4},
        {FAULT_EPOCH, FAULT_EPOCH, STEP_TAKE, STEP_TAKE, -1, -1, 32},
    };
    size_t i = rand_below(r, ARRAY_LEN(pairs));
    int stage = draw_stage(r, counts, pairs[i].at), any = (int)rand_below(r, 4), then = (int)rand_below(r, 4);

    s->items[0] = (struct item){.fault = pairs[i].first, .stage = stage, .step = pairs[i].at,
                                .nth = 1 + (int)rand_below(r, (uint64_t)counts[stage][pairs[i].at] + 1),
                                .how = pairs[i].how < 0 ? any : pairs[i].how};
    s->items[1] = (struct item){.then = true, .fault = pairs[i].second, .stage = stage, .step = pairs[i].then,
                                .nth = 1 + (int)rand_below(r, (uint64_t)pairs[i].far),
                                .how = pairs[i].then_how < 0 ? then : pairs[i].then_how};
    s->n_items = s->n_items < 2 ? 2 : s->n_items;
    if (pairs[i].first == FAULT_KILL || pairs[i].first == FAULT_AWAY)
        s->slots[stage] = 2; /* an heir, */
    s->lazy_sweep |= pairs[i].first == FAULT_KILL; /* and nobody who ends the transaction meanwhile */
    s->at_least_once |= pairs[i].first == FAULT_ZOMBIE;
}

void schedule_draw(uint64_t seed, int counts[STAGES_MAX][N_STEPS], struct schedule *ret)
{
    struct rand r;
    bool on[N_FAULTS] = {false}, long_session;

    rand_seed(&r, ~seed);
    long_session = rand_below(&r, 8) == 0;
    rand_seed(&r, seed);
    *ret = (struct schedule){.world = (int)rand_below(&r, (uint64_t)WORLDS), .changelog_bytes = 1, .long_session = long_session};
    for (int s = 0; s < STAGES_MAX; s++)
        ret->slots[s] = 1 + (int)rand_below(&r, 2);
    if (rand_below(&r, 3) == 0)
        ret->changelog_bytes = (int)CHANGELOG_BYTES;
    if (rand_below(&r, 4) != 0)
        ret->jitter = 1 + rand_below(&r, 1000000);
    ret->lazy_sweep = rand_below(&r, 2) == 0;
    ret->at_least_once = rand_below(&r, 5) == 0;
    /* which kinds of faults are on at all; in a quarter none */
    if (rand_below(&r, 4) == 0)
        return;
    for (size_t n = 0; n < 2; n++)
        on[1 + rand_below(&r, N_FAULTS - 1)] = true;
    for (int f = 1; f < N_FAULTS; f++)
        on[f] |= rand_below(&r, 3) == 0;
    ret->n_items = 1 + rand_below(&r, ITEMS_MAX - 1);
    for (size_t k = 0; k < ret->n_items; k++)
        draw_item(&r, on, counts, &ret->items[k]);
    /* nothing is aborted, and nobody pauses, before something has failed */
    for (size_t k = 1; k < ret->n_items; k++)
        if (ret->items[k].step == STEP_ABORT || ret->items[k].step == STEP_NAP) {
            int stage = ret->items[k].stage;

            ret->items[k - 1] = (struct item){.fault = FAULT_ABORTABLE, .stage = stage, .step = STEP_OFFSETS,
                                              .nth = 1 + (int)rand_below(&r, (uint64_t)counts[stage][STEP_OFFSETS] + 1)};
            ret->items[k].then = true;
            ret->items[k].nth = 1;
        }
    if (rand_below(&r, 4) == 0)
        draw_pair(&r, counts, ret);
}

void schedule_print(const struct schedule *s, struct bytes *out)
{
    bytes_printf(out, "world=%d slots=%d,%d,%d,%d changelog=%d jitter=%llu lazy=%d", s->world, s->slots[0], s->slots[1], s->slots[2],
                 s->slots[3], s->changelog_bytes, (unsigned long long)s->jitter, s->lazy_sweep);
    if (s->at_least_once)
        bytes_printf(out, " at_least_once");
    if (s->long_session)
        bytes_printf(out, " long_session");
    for (size_t k = 0; k < s->n_items; k++) {
        const struct item *it = &s->items[k];

        bytes_printf(out, " %s%s:%s.%s.%d:%d", it->then && k ? "then_" : "", fault_names[it->fault], world_stage_name(it->stage), step_names[it->step], it->nth,
                     it->how);
    }
}

static int index_of(const char *name, const char *const *names, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

static bool parse_item(const char *word, struct item *it)
{
    char fault[32], stage[32], step[32];
    int f, s;

    it->then = strncmp(word, "then_", 5) == 0;
    word += it->then ? 5 : 0;
    if (sscanf(word, "%31[a-z_]:%31[a-z_].%31[a-z_].%d:%d", fault, stage, step, &it->nth, &it->how) != 5)
        return false;
    f = index_of(fault, fault_names, N_FAULTS);
    s = index_of(step, step_names, N_STEPS);
    it->stage = -1;
    for (int i = 0; i < world_stages(); i++)
        if (strcmp(world_stage_name(i), stage) == 0)
            it->stage = i;
    if (f < 0 || s < 0 || it->stage < 0 || it->how < 0 || it->how > 3)
        return false;
    it->fault = (enum fault)f;
    it->step = (enum step)s;
    return true;
}

bool schedule_parse(const char *line, struct schedule *ret)
{
    unsigned long long jitter;
    int lazy, n = 0;
    char word[128];

    *ret = (struct schedule){0};
    if (sscanf(line, " world=%d slots=%d,%d,%d,%d changelog=%d jitter=%llu lazy=%d%n", &ret->world, &ret->slots[0], &ret->slots[1],
               &ret->slots[2], &ret->slots[3], &ret->changelog_bytes, &jitter, &lazy, &n) != 8)
        return false;
    ret->jitter = jitter;
    ret->lazy_sweep = lazy != 0;
    for (line += n; sscanf(line, " %127s%n", word, &n) == 1; line += n)
        if (strcmp(word, "at_least_once") == 0)
            ret->at_least_once = true;
        else if (strcmp(word, "long_session") == 0)
            ret->long_session = true;
        else if (ret->n_items == ITEMS_MAX || !parse_item(word, &ret->items[ret->n_items++]))
            return false;
    return ret->world >= 0 && ret->world < WORLDS;
}
