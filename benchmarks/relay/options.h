/* The command line of the load generator. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "client.h"

#define SERVERS_MAX 64

struct options {
    int pid, core; /* of the (first) server */
    uint16_t ports[SERVERS_MAX];
    int servers;
    /* Headset i is on server i of the first `headset_servers`, and so on around; its viewers are
     * `viewer_shift` servers further; dashboards from the last one backwards; the rest as headsets
     * over all of them. */
    int headset_servers, viewer_shift;
    bool announce; /* say when the measured part begins, and stay until the input is closed */
    int inflight;  /* clients that may be connecting at once */
    int count[ROLES];
    double fps, telemetry_hz; /* per headset */
    double warmup_s, seconds, slow_bytes_per_s;
    size_t frame_bytes; /* characters of base64 */
    const char *tokens;
};

extern struct options options;

/* Fill `options`. Ends the program when something is missing. */
void options_read(int argc, char **argv);

#endif
