/* workers/ingest/publish.h: a file's records onto a topic of the stage, resumable, nothing twice. */
#ifndef WORKERS_INGEST_PUBLISH_H
#define WORKERS_INGEST_PUBLISH_H

/* `ingest PIPELINE STAGE --publish TOPIC FILE|- ...`: the exit status. */
int publish_main(int argc, char **argv);

#endif
