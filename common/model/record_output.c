/* common/model/record_output.c: what an output of a model is, by what its fit was told. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/record.h"

static const char *param(const struct model_record *m, const struct model_output *o, const char *name)
{
    for (size_t i = 0; i < o->n_params; i++)
        if (strcmp(o->params[i].name, name) == 0)
            return o->params[i].value;
    for (size_t i = 0; i < m->n_params; i++)
        if (strcmp(m->params[i].name, name) == 0)
            return m->params[i].value;
    return "";
}

double model_output_share(const struct model_record *m, size_t output)
{
    const char *objective = param(m, &m->outputs[output], "objective");

    if (strcmp(objective, "reg:absoluteerror") == 0)
        return 0.5;
    return strcmp(objective, "reg:quantileerror") == 0 ? strtod(param(m, &m->outputs[output], "quantile_alpha"), NULL) : (double)NAN;
}

const char *model_output_metric(const struct model_record *m, size_t output)
{
    return isnan(model_output_share(m, output)) ? "rmse" : "pinball";
}
