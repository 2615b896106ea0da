/* The command line of the load generator. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "client.h"

struct options {
    int pid, core; /* of the server */
    int inflight;  /* clients that may be connecting at once */
    int count[ROLES];
    double fps, telemetry_hz; /* per headset */
    double warmup_s, seconds, slow_bytes_per_s;
    size_t frame_bytes; /* characters of base64 */
    const char *tokens;
};

extern struct options options;

/* Fill `options` and `wire.port`. Ends the program when something is missing. */
void options_read(int argc, char **argv);

#endif
