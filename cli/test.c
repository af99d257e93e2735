/* millrace test: a pipeline's cases, each through the shipped workers on files (docs/files.md), no broker. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/difference.h"
#include "ops/signals.h"
#include "wire/container.h"
#include "wire/plan.h"
#include "wire/text.h"
#include "wiring/cases.h"

#define ARGS_MAX 600
#define LOG_LINE_MAX 4096

struct run {
    const struct pipeline *p;
    const struct test_case *c;
    char folder[PATH_MAX / 2];
    struct bytes said; /* a line for each difference */
    size_t n_said;
};

/* ---- files ---- */

static const char *file_of(const struct run *r, const char *topic)
{
    return arena_printf(r->p->arena, "%s/%s.avro", r->folder, topic);
}

static const char *dead_letters_of(const struct run *r, const struct stage_def *s)
{
    return arena_printf(r->p->arena, "%s/dead_letters.%s", r->folder, s->name);
}

static enum status write_records(const char *path, const struct schema *schema, const struct view *records, size_t n,
                                 struct error *err)
{
    struct container_writer *w = NULL;
    enum status st = container_create(path, schema, &w, err);
    struct error said;

    if (st != OK)
        return st;
    for (size_t i = 0; i < n && st == OK; i++)
        st = container_append(w, records[i], err);
    if (container_finish(w, &said) != OK && st == OK) {
        *err = said;
        st = said.status;
    }
    return st;
}

/* A topic that nobody gave and no stage made has no records. */
static enum status write_inputs(const struct run *r, struct error *err)
{
    enum status st = OK;

    for (size_t i = 0; i < r->c->n_in && st == OK; i++)
        st = write_records(file_of(r, r->c->in[i].topic->name), r->c->in[i].topic->schema, r->c->in[i].records,
                           r->c->in[i].n, err);
    return st;
}

static void remove_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *e;

    while (dir && (e = readdir(dir)) != NULL)
        (void)unlinkat(dirfd(dir), e->d_name, 0);
    if (dir)
        closedir(dir);
    (void)rmdir(folder);
}

/* ---- the workers ---- */

static enum status stage_args(const struct run *r, const struct stage_def *s, char **args, struct error *err)
{
    struct arena *a = r->p->arena;
    size_t n = 0;

    args[n++] = arena_strdup(a, s->worker);
    args[n++] = arena_strdup(a, r->p->file);
    args[n++] = arena_strdup(a, s->name);
    for (size_t i = 0; i < s->n_from; i++) {
        const struct topic *t = &r->p->topics[s->from[i]];
        const char *path = file_of(r, t->name);

        if (access(path, F_OK) != 0 && write_records(path, t->schema, NULL, 0, err) != OK)
            return err->status;
        args[n++] = arena_strdup(a, "--in");
        args[n++] = arena_printf(a, "%s=%s", t->broker_name, path);
    }
    if (s->model && r->c->models) {
        args[n++] = arena_strdup(a, "--in");
        args[n++] = arena_printf(a, "%s=%s", MODELS_TOPIC, r->c->models);
    }
    for (size_t i = 0; i < s->n_to; i++) {
        const struct topic *t = &r->p->topics[s->to[i]];

        args[n++] = arena_strdup(a, "--out");
        args[n++] = arena_printf(a, "%s=%s", t->broker_name, file_of(r, t->name));
    }
    args[n++] = arena_strdup(a, "--out");
    args[n++] = arena_printf(a, "%s.dead_letters=%s", r->p->name, dead_letters_of(r, s));
    args[n] = NULL;
    return OK;
}

static void become(const char *path, const char *log, char *const *args)
{
    int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600), none = open("/dev/null", O_RDONLY);
    sigset_t nothing;

    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    sigemptyset(&nothing);
    sigprocmask(SIG_SETMASK, &nothing, NULL);
    if (none >= 0)
        dup2(none, STDIN_FILENO);
    if (fd >= 0) {
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
    }
    execv(path, args);
    fprintf(stderr, "start %s: %s: build it with `make`\n", path, strerror(errno));
    _exit(EXIT_CALL);
}

/* What the worker said last, why it ended: the reason of its log's line, or the line. */
static void last_line(const char *log, char *ret, size_t cap)
{
    FILE *f = fopen(log, "r");
    char line[LOG_LINE_MAX];
    const char *reason;

    snprintf(ret, cap, "(it said nothing)");
    while (f && fgets(line, sizeof(line), f) != NULL)
        if (strstr(line, "event=ended") == NULL) {
            reason = strstr(line, "reason=");
            reason = reason ? reason + strlen("reason=") : line;
            snprintf(ret, cap, "%.*s", (int)strcspn(reason, "\n"), reason);
        }
    if (f)
        fclose(f);
}

static enum status run_stage(const struct run *r, const struct stage_def *s, struct error *err)
{
    char *args[ARGS_MAX], path[PATH_MAX], log[PATH_MAX], line[600];
    int status = 0;
    pid_t pid;

    if (stage_args(r, s, args, err) != OK)
        return err->status;
    snprintf(path, sizeof(path), "%s/%s", cli_bin(), s->worker);
    snprintf(log, sizeof(log), "%s/log", r->folder);
    pid = fork();
    if (pid == 0)
        become(path, log, args);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (pid < 0)
        return err_set(err, ERR_FATAL, "start %s: %s", path, strerror(errno));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return OK;
    last_line(log, line, sizeof(line));
    return err_set(err, ERR_FATAL, "stage '%s' ended with %s %d: %s", s->name,
                   WIFSIGNALED(status) ? "signal" : "exit status",
                   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), line);
}

/* ---- what came out ---- */

static enum status decoded(const struct schema *schema, struct view body, json_t **ret, struct error *err)
{
    struct bytes text = BYTES_EMPTY;
    enum status st = text_from_avro(schema, body, /* iso= */ true, &text, err);

    if (st == OK)
        st = json_read(view_of(text.data, text.n), ret, err);
    bytes_done(&text);
    return st;
}

/* Adds a file's records to the list. */
static enum status read_records(const char *path, json_t *ret_list, struct error *err)
{
    struct container_reader *file = NULL;
    enum status st = container_open(path, &file, err);

    while (st == OK) {
        struct view body;
        json_t *record;

        st = container_next(file, &body, err);
        if (st != OK || body.data == NULL)
            break;
        st = decoded(container_schema(file), body, &record, err);
        if (st == OK)
            json_array_append_new(ret_list, record);
    }
    container_close(file);
    return st;
}

/* ---- dead letters, as a case names them: stage, topic of the wiring, reason, and the record that was refused ---- */

static json_t *text_of(const struct batch *row, const char *col)
{
    struct view v = batch_col(row, col)->view[0];

    return json_stringn((const char *)v.data, v.n);
}

/* The refused record by its topic's schema; null where it does not decode. */
static json_t *event_of(const struct topic *t, const struct batch *row)
{
    const struct col *value = batch_col(row, "value");
    json_t *event = NULL;
    struct error err;

    if (t == NULL || value->null[0] || decoded(t->schema, value->view[0], &event, &err) != OK)
        return json_null();
    return event;
}

static void add_letter(const struct run *r, const struct batch *row, json_t *list)
{
    json_t *topic = text_of(row, "topic"), *letter = json_object();
    const struct topic *t = pipeline_topic(r->p, json_string_value(topic));

    json_object_set_new(letter, "stage", text_of(row, "stage"));
    json_object_set_new(letter, "topic", t ? json_string(t->name) : json_incref(topic));
    json_object_set_new(letter, "reason", text_of(row, "reason"));
    json_object_set_new(letter, "event", event_of(t, row));
    json_array_append_new(list, letter);
    json_decref(topic);
}

static enum status read_dead_letters(const struct run *r, const char *path, json_t *ret_list, struct error *err)
{
    static const struct want wants[] = {
        {"stage", COL_STRING}, {"topic", COL_STRING}, {"reason", COL_STRING}, {"value", COL_BYTES}};
    struct container_reader *file = NULL;
    struct decode_plan *plan = NULL;
    struct arena arena = ARENA_EMPTY;
    struct batch row;
    enum status st = container_open(path, &file, err);

    batch_init(&row, &arena, 1);
    decode_begin(wants, ARRAY_LEN(wants), &row);
    row.n_rows = 1;
    if (st == OK)
        st = decode_plan_new(container_schema(file), container_schema(file), wants, ARRAY_LEN(wants), &plan, err);
    while (st == OK) {
        struct view body;

        st = container_next(file, &body, err);
        if (st != OK || body.data == NULL)
            break;
        st = decode_row(plan, body, &row, 0, err);
        if (st == OK)
            add_letter(r, &row, ret_list);
    }
    decode_plan_free(plan);
    container_close(file);
    arena_done(&arena);
    return st;
}

/* ---- a case ---- */

static enum status run_stages(const struct run *r, struct error *err)
{
    enum status st = write_inputs(r, err);

    for (size_t i = 0; i < r->c->n_stages && st == OK; i++)
        st = run_stage(r, r->c->stages[i], err);
    return st;
}

static enum status compare_all(struct run *r, struct error *err)
{
    const struct test_case *c = r->c;
    json_auto_t *letters = json_array();
    enum status st = OK;

    for (size_t i = 0; i < c->n_out && st == OK; i++) {
        const struct topic *t = c->out[i].topic;
        json_auto_t *got = json_array();

        st = read_records(file_of(r, t->name), got, err);
        if (st == OK)
            r->n_said += difference_put_records(&r->said, t, c->out[i].records, got, c->within);
    }
    for (size_t i = 0; i < c->n_stages && st == OK; i++)
        st = read_dead_letters(r, dead_letters_of(r, c->stages[i]), letters, err);
    if (st == OK)
        r->n_said += difference_put_dead_letters(&r->said, r->p, c->dead_letters, letters, c->within);
    return st;
}

/* Whether it passed; what it did not, is printed. */
static bool run_case(const struct pipeline *p, const struct test_case *c)
{
    const char *tmp = getenv("TMPDIR");
    struct run r = {.p = p, .c = c};
    struct error err;
    enum status st = OK;

    snprintf(r.folder, sizeof(r.folder), "%s/millrace-test.XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
    if (mkdtemp(r.folder) == NULL)
        st = err_set(&err, ERR_FATAL, "make the folder %s: %s", r.folder, strerror(errno));
    if (st == OK && (st = run_stages(&r, &err)) == OK)
        st = compare_all(&r, &err);
    remove_folder(r.folder);
    if (st != OK) {
        bytes_printf(&r.said, "    %s\n", err.text);
        r.n_said++;
    }
    if (!signals_stopping()) {
        printf("%s %s\n", r.n_said ? "not ok" : "ok", c->name);
        printf("%.*s", (int)r.said.n, r.said.n ? (const char *)r.said.data : "");
        fflush(stdout);
    }
    bytes_done(&r.said);
    return r.n_said == 0;
}

/* pipelines/x.json: pipelines/x.test.json */
static struct cases *load_cases(const struct pipeline *p)
{
    const char *ending = strrchr(p->file, '.');
    int n = ending && strcmp(ending, ".json") == 0 ? (int)(ending - p->file) : (int)strlen(p->file);
    struct bytes faults = BYTES_EMPTY;
    struct cases *cases = NULL;
    struct error err;

    if (cases_load(arena_printf(p->arena, "%.*s.test.json", n, p->file), p, &cases, &faults, &err) != OK)
        fprintf(stderr, "%.*s", (int)faults.n, (const char *)faults.data);
    bytes_done(&faults);
    return cases;
}

int cli_test(int argc, char **argv)
{
    const char *file;
    struct pipeline *p;
    struct cases *cases;
    struct error err;
    size_t n_args, n_passed = 0, n = 0;

    if (!cli_options(argc, argv, NULL, 0, &file, 1, &n_args))
        return EXIT_CALL;
    if (n_args == 0)
        return cli_wrong("test", "expected a pipeline file");
    p = cli_pipeline(file);
    if (p == NULL)
        return EXIT_CALL;
    cases = load_cases(p);
    if (cases == NULL) {
        pipeline_free(p);
        return EXIT_CALL;
    }
    if (signals_start(&err) != OK)
        return cli_failed("test", &err);
    for (; n < cases->n && !signals_stopping(); n++)
        n_passed += run_case(p, &cases->cases[n]);
    if (!signals_stopping())
        printf("%zu passed, %zu failed\n", n_passed, n - n_passed);
    cases_free(cases);
    pipeline_free(p);
    return signals_stopping() ? 130 : n_passed == n ? 0 : 1;
}
