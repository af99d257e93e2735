/* common/model/booster.c: the only file that knows libxgboost's C API. */
#include "model/booster.h"

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xgboost/c_api.h>

#include "base/arena.h"

/* Sizes in messages to the library, all bounded. */
#define CONFIG_CHARS 256
#define THREADS_MAX 64

struct booster {
    BoosterHandle handle;
    size_t n_features;
    size_t n_outputs;
};

DEFINE_AUTO(dmatrix, DMatrixHandle, XGDMatrixFree);
DEFINE_AUTO(handle, BoosterHandle, XGBoosterFree);

static enum status failed(const char *what, struct error *err)
{
    const char *text = XGBGetLastError();
    size_t n = strcspn(text, "\n");

    /* "[time] file:line: message": what follows the position, first line. */
    for (size_t i = 0; i + 1 < n && text[0] == '['; i++) {
        if (text[i] == ']' && text[i + 1] == ' ') {
            text += i + 2;
            n = strcspn(text, "\n");
            break;
        }
    }
    return err_set(err, ERR_FATAL, "xgboost: %s: %.*s", what, (int)(n > 400 ? 400 : n), text);
}

static void silent(const char *message)
{
    (void)message; /* its warnings are not in our log's form; errors come back as results */
}

/* Also where a booster's own nthread does not reach. One but in a fit: a pool of OpenMP would not survive a fork (model_try). */
static void use_threads(const char *n)
{
    char config[CONFIG_CHARS];

    snprintf(config, sizeof(config), "{\"verbosity\": 0, \"nthread\": %s}", n);
    XGBSetGlobalConfig(config);
}

static void library_init(void)
{
    XGBRegisterLogCallback(silent);
    use_threads("1");
}

/* The verbosity is per thread in libxgboost, the log callback too. */
static void begin(void)
{
    static _Thread_local bool begun;

    if (!begun)
        library_init();
    begun = true;
}

const char *booster_version(void)
{
    static char text[32];
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    int major = 0, minor = 0, patch = 0;

    pthread_mutex_lock(&lock);
    if (text[0] == '\0') {
        XGBoostVersion(&major, &minor, &patch);
        snprintf(text, sizeof(text), "xgboost %d.%d.%d", major, minor, patch);
    }
    pthread_mutex_unlock(&lock);
    return text;
}

/* The array interface of a row-major float32 matrix. */
static void interface(const void *p, size_t n_rows, size_t n_cols, char ret_text[CONFIG_CHARS])
{
    snprintf(ret_text, CONFIG_CHARS, "{\"data\": [%zu, true], \"shape\": [%zu, %zu], \"typestr\": \"<f4\", \"version\": 3}",
             (size_t)p, n_rows, n_cols);
}

enum status booster_rows_ok(const float *rows, size_t n_rows, size_t n_cols, struct error *err)
{
    unsigned any = 0;

    for (size_t i = 0; i < n_rows * n_cols; i++)
        any |= (unsigned)(fabsf(rows[i]) > FLT_MAX);
    for (size_t i = 0; any && i < n_rows * n_cols; i++) {
        if (isinf(rows[i]))
            return err_set(err, ERR_RECORD, "row %zu, column %zu: infinite; expected a finite number or NaN (missing)",
                           i / n_cols, i % n_cols);
    }
    return OK;
}

static enum status dense(const float *rows, size_t n_rows, size_t n_cols, DMatrixHandle *ret, struct error *err)
{
    char text[CONFIG_CHARS];

    interface(rows, n_rows, n_cols, text);
    if (XGDMatrixCreateFromDense(text, "{\"missing\": NaN, \"nthread\": 1}", ret) != 0)
        return failed("rows", err);
    return OK;
}

static const char *param(const struct booster_fit *fit, const char *name)
{
    for (size_t i = 0; i < fit->n_params; i++) {
        if (strcmp(fit->params[i].name, name) == 0)
            return fit->params[i].value;
    }
    return NULL;
}

static enum status check_params(const struct booster_fit *fit, struct error *err)
{
    static const char *const needed[] = {"objective", "tree_method", "base_score", "seed"};
    static const char *const ours[] = {"n_jobs", "num_feature", "verbosity", "device", "booster"};
    const char *objective = param(fit, "objective"), *nthread = param(fit, "nthread");

    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        if (param(fit, needed[i]) == NULL)
            return err_set(err, ERR_RECORD, "xgboost parameter '%s' must be given: a default may change and the model with it",
                           needed[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        if (param(fit, ours[i]) != NULL)
            return err_set(err, ERR_RECORD, "xgboost parameter '%s' is fixed and cannot be set", ours[i]);
    }
    for (size_t i = 0; i < fit->n_params; i++) {
        if (strcmp(param(fit, fit->params[i].name), fit->params[i].value) != 0)
            return err_set(err, ERR_RECORD, "xgboost parameter '%s' is given twice", fit->params[i].name);
    }
    /* Threads decide in which order gradients are summed: a setting of the model, not of the machine. */
    if (nthread && (strspn(nthread, "0123456789") != strlen(nthread) || atoi(nthread) < 1 || atoi(nthread) > THREADS_MAX))
        return err_set(err, ERR_RECORD, "xgboost parameter 'nthread': expected 1 to %d, got '%s'", THREADS_MAX, nthread);
    if (!ubj_knows_objective(objective))
        return err_set(err, ERR_RECORD, "objective '%s' is not one that can be served; expected one of %s", objective,
                       ubj_objectives());
    return OK;
}

static enum status check_rounds(const struct booster_fit *fit, size_t n_rows, size_t n_features, struct error *err)
{
    if (n_rows == 0 || fit->rounds < 1 || fit->rounds > UBJ_TREES_MAX)
        return err_set(err, ERR_RECORD, "expected at least one row and 1 to %d rounds, got %zu rows, %d rounds",
                       UBJ_TREES_MAX, n_rows, fit->rounds);
    if (n_features == 0 || n_features > UBJ_FEATURES_MAX)
        return err_set(err, ERR_RECORD, "expected 1 to %d features, got %zu", UBJ_FEATURES_MAX, n_features);
    return check_params(fit, err);
}

static enum status check_labels(const float *labels, const float *weights, size_t n_rows, struct error *err)
{
    for (size_t i = 0; i < n_rows; i++) {
        if (!isfinite(labels[i]) || (weights && !(weights[i] >= 0 && isfinite(weights[i]))))
            return err_set(err, ERR_RECORD, "row %zu: label or weight is not a finite number", i);
    }
    return OK;
}

static enum status check_fit(const struct booster_fit *fit, struct error *err)
{
    if (check_rounds(fit, fit->n_rows, fit->n_features, err) != OK ||
        check_labels(fit->labels, fit->weights, fit->n_rows, err) != OK)
        return err->status;
    return booster_rows_ok(fit->rows, fit->n_rows, fit->n_features, err);
}

static int name_columns(DMatrixHandle d, const char *const *features, size_t n)
{
    /* The C API takes names as char *const *, but only reads them. */
    const char **names = xmalloc(n * sizeof(*names));
    int bad;

    memcpy(names, features, n * sizeof(*names));
    bad = XGDMatrixSetStrFeatureInfo(d, "feature_name", names, n);
    free(names);
    return bad;
}

static enum status make_matrix(const struct booster_fit *fit, DMatrixHandle *ret, struct error *err)
{
    int bad;

    if (dense(fit->rows, fit->n_rows, fit->n_features, ret, err) != OK)
        return err->status;
    bad = name_columns(*ret, fit->features, fit->n_features);
    bad = bad ? bad : XGDMatrixSetFloatInfo(*ret, "label", fit->labels, fit->n_rows);
    if (bad == 0 && fit->weights != NULL)
        bad = XGDMatrixSetFloatInfo(*ret, "weight", fit->weights, fit->n_rows);
    return bad ? failed("rows", err) : OK;
}

/* Into the booster too: these are the names that the model's bytes carry. */
static int name_features(BoosterHandle b, const char *const *features, size_t n)
{
    const char **names = xmalloc(n * sizeof(*names));
    int bad;

    memcpy(names, features, n * sizeof(*names));
    bad = XGBoosterSetStrFeatureInfo(b, "feature_name", names, n);
    free(names);
    return bad;
}

void booster_threads_sleep(char **argv)
{
    if (getenv("OMP_WAIT_POLICY") == NULL && setenv("OMP_WAIT_POLICY", "PASSIVE", 0) == 0)
        (void)execv("/proc/self/exe", argv); /* where that cannot be, it goes on: slower, no worse */
}

static enum status fit_on(DMatrixHandle d, const struct booster_fit *fit, const char *const *features, size_t n_features,
                          struct bytes *ret_model, struct error *err)
{
    AUTO(handle) b = NULL;
    const char *out;
    bst_ulong n_out;
    const char *nthread = param(fit, "nthread") ? param(fit, "nthread") : "1";
    bool stopped = false;
    int bad;

    if (XGBoosterCreate(&d, 1, &b) != 0)
        return failed("create", err);
    bad = XGBoosterSetParam(b, "nthread", nthread) || XGBoosterSetParam(b, "booster", "gbtree") ||
          XGBoosterSetParam(b, "device", "cpu") || XGBoosterSetParam(b, "validate_parameters", "1");
    for (size_t i = 0; i < fit->n_params && !bad; i++)
        bad = XGBoosterSetParam(b, fit->params[i].name, fit->params[i].value);
    if (bad)
        return failed("parameters", err);
    if (name_features(b, features, n_features) != 0)
        return failed("feature names", err);
    use_threads(nthread);
    for (int round = 0; round < fit->rounds && !bad && !stopped; round++) {
        bad = XGBoosterUpdateOneIter(b, round, d);
        stopped = fit->stopping && fit->stopping();
    }
    use_threads("1");
    if (bad)
        return failed("train", err);
    if (stopped)
        return err_set(err, ERR_RETRY, "stopped");
    if (XGBoosterSaveModelToBuffer(b, "{\"format\": \"ubj\"}", &n_out, &out) != 0)
        return failed("save", err);
    bytes_append(ret_model, out, n_out);
    return OK;
}

enum status booster_train(const struct booster_fit *fit, struct bytes *ret_model, struct error *err)
{
    AUTO(dmatrix) d = NULL;

    begin();
    if (check_fit(fit, err) != OK || make_matrix(fit, &d, err) != OK)
        return err_wrap(err, "train on %zu rows", fit->n_rows);
    return fit_on(d, fit, fit->features, fit->n_features, ret_model, err);
}

/* ---- rows in chunks ---- */
struct booster_matrix {
    DMatrixHandle handle;
    const char *const *features; /* borrowed */
    size_t n_features, n_rows;
};

struct taking {
    const struct booster_source *source;
    DMatrixHandle proxy;
    size_t n_features;
    struct error *err;
    enum status status; /* of the source, or of its rows */
};

static int take_chunk(DataIterHandle ctx)
{
    struct taking *t = ctx;
    struct booster_chunk c = {0};
    char text[CONFIG_CHARS];

    t->status = t->source->next(t->source->ctx, &c, t->err);
    if (t->status == OK && c.n_rows != 0)
        t->status = check_labels(c.labels, c.weights, c.n_rows, t->err);
    if (t->status == OK && c.n_rows != 0)
        t->status = booster_rows_ok(c.rows, c.n_rows, t->n_features, t->err);
    if (t->status != OK || c.n_rows == 0)
        return t->status == OK ? 0 : -1;
    interface(c.rows, c.n_rows, t->n_features, text);
    if (XGProxyDMatrixSetDataDense(t->proxy, text) != 0 || XGDMatrixSetFloatInfo(t->proxy, "label", c.labels, c.n_rows) != 0 ||
        (c.weights && XGDMatrixSetFloatInfo(t->proxy, "weight", c.weights, c.n_rows) != 0))
        return -1;
    return 1;
}

static void take_again(DataIterHandle ctx)
{
    struct taking *t = ctx;

    t->source->again(t->source->ctx);
}

enum status booster_matrix_new(const struct booster_source *source, const char *const *features, size_t n_features, int max_bin,
                               struct booster_matrix **ret_matrix, struct error *err)
{
    AUTO(dmatrix) proxy = NULL;
    struct taking t = {.source = source, .n_features = n_features, .err = err};
    struct booster_matrix *m;
    DMatrixHandle handle = NULL;
    char config[CONFIG_CHARS];
    bst_ulong n_rows = 0;
    int bad;

    begin();
    if (XGProxyDMatrixCreate(&proxy) != 0)
        return failed("rows", err);
    t.proxy = proxy;
    take_again(&t);
    snprintf(config, sizeof(config), "{\"missing\": NaN, \"nthread\": 1, \"max_bin\": %d}", max_bin);
    bad = XGQuantileDMatrixCreateFromCallback(&t, proxy, NULL, take_again, take_chunk, config, &handle);
    if (bad)
        return t.status != OK ? t.status : failed("rows", err);
    if (name_columns(handle, features, n_features) != 0 || XGDMatrixNumRow(handle, &n_rows) != 0) {
        XGDMatrixFree(handle);
        return failed("rows", err);
    }
    m = xcalloc(1, sizeof(*m));
    *m = (struct booster_matrix){handle, features, n_features, n_rows};
    *ret_matrix = m;
    return OK;
}

void booster_matrix_free(struct booster_matrix *m)
{
    if (m == NULL)
        return;
    XGDMatrixFree(m->handle);
    free(m);
}

size_t booster_matrix_n_rows(const struct booster_matrix *m)
{
    return m->n_rows;
}

enum status booster_train_on(struct booster_matrix *m, const struct booster_fit *fit, struct bytes *ret_model, struct error *err)
{
    const char *method = param(fit, "tree_method");

    begin();
    if (check_rounds(fit, m->n_rows, m->n_features, err) != OK)
        return err_wrap(err, "train on %zu rows", m->n_rows);
    if (strcmp(method, "hist") != 0)
        return err_set(err, ERR_RECORD, "tree_method: expected 'hist', got '%s'", method);
    if (check_labels(fit->labels, NULL, m->n_rows, err) != OK)
        return err->status;
    if (XGDMatrixSetFloatInfo(m->handle, "label", fit->labels, m->n_rows) != 0)
        return failed("labels", err);
    return fit_on(m->handle, fit, m->features, m->n_features, ret_model, err);
}

enum status booster_load(struct view bytes, struct booster **ret_booster, struct error *err)
{
    struct ubj_trees *t = NULL;
    enum status st = ubj_read(bytes, &t, err);

    if (st == OK)
        st = booster_load_walked(bytes, t, ret_booster, err);
    ubj_trees_free(t);
    return st;
}

enum status booster_load_walked(struct view bytes, const struct ubj_trees *t, struct booster **ret_booster,
                                struct error *err)
{
    AUTO(handle) h = NULL;
    bst_ulong n = 0;

    begin();
    if (XGBoosterCreate(NULL, 0, &h) != 0)
        return failed("create", err);
    if (XGBoosterSetParam(h, "nthread", "1") != 0 || XGBoosterLoadModelFromBuffer(h, bytes.data, bytes.n) != 0 ||
        XGBoosterSetParam(h, "device", "cpu") != 0 || XGBoosterGetNumFeature(h, &n) != 0) {
        failed("load", err);
        err->status = ERR_RECORD;
        return ERR_RECORD;
    }
    if (n != t->n_features)
        return err_set(err, ERR_RECORD, "model bytes: libxgboost reads %zu features, our walk %zu", (size_t)n, t->n_features);
    *ret_booster = xcalloc(1, sizeof(**ret_booster));
    (*ret_booster)->handle = h;
    (*ret_booster)->n_features = t->n_features;
    (*ret_booster)->n_outputs = t->n_outputs;
    h = NULL;
    return OK;
}

void booster_free(struct booster *b)
{
    if (b == NULL)
        return;
    XGBoosterFree(b->handle);
    free(b);
}

size_t booster_n_features(const struct booster *b)
{
    return b->n_features;
}

size_t booster_n_outputs(const struct booster *b)
{
    return b->n_outputs;
}

/* type 0: predictions, 2: contributions (XGBoosterPredictFromDMatrix). */
static enum status predict(struct booster *b, int type, const float *rows, size_t n_rows, size_t per_row, float *ret,
                           struct error *err)
{
    AUTO(dmatrix) d = NULL;
    char config[CONFIG_CHARS];
    const bst_ulong *shape;
    const float *out;
    bst_ulong n_dims;
    size_t n = 1;

    if (n_rows == 0)
        return OK;
    begin();
    if (booster_rows_ok(rows, n_rows, b->n_features, err) != OK || dense(rows, n_rows, b->n_features, &d, err) != OK)
        return err->status;
    snprintf(config, sizeof(config),
             "{\"type\": %d, \"training\": false, \"iteration_begin\": 0, \"iteration_end\": 0, \"strict_shape\": true}", type);
    if (XGBoosterPredictFromDMatrix(b->handle, d, config, &shape, &n_dims, &out) != 0)
        return failed("predict", err);
    for (bst_ulong i = 0; i < n_dims; i++)
        n *= shape[i];
    if (n != n_rows * per_row)
        return err_set(err, ERR_FATAL, "xgboost: predict: expected %zu values, got %zu", n_rows * per_row, n);
    memcpy(ret, out, n * sizeof(*ret));
    return OK;
}

enum status booster_predict(struct booster *b, const float *rows, size_t n_rows, float *ret_scores, struct error *err)
{
    return predict(b, 0, rows, n_rows, b->n_outputs, ret_scores, err);
}

enum status booster_contributions(struct booster *b, const float *rows, size_t n_rows, float *ret_contributions,
                                  struct error *err)
{
    return predict(b, 2, rows, n_rows, b->n_outputs * (b->n_features + 1), ret_contributions, err);
}
