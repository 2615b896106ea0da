#define _GNU_SOURCE
#include "options.h"

#include <getopt.h>

struct options options = {.inflight = 64, .warmup_s = 2, .seconds = 8, .frame_bytes = 40000,
                          .slow_bytes_per_s = 300000};

static void read_ports(char *text)
{
    for (char *port = strtok(text, ","); port; port = strtok(NULL, ",")) {
        if (options.servers == SERVERS_MAX || atoi(port) < 1 || atoi(port) > 65535)
            die("--port: at most %d ports, from 1 to 65535: %s", SERVERS_MAX, port);
        options.ports[options.servers++] = (uint16_t)atoi(port);
    }
}

static void check(void)
{
    if (!options.servers || !options.pid || !options.tokens)
        die("needed: --port, --pid, --tokens; run.py gives them");
    if (!options.count[HEADSET] && (options.count[VIEWER] || options.count[SLOW] ||
                                    options.fps > 0 || options.telemetry_hz > 0))
        die("needed: --headsets, for somebody to send");
    if (options.headset_servers < 0 || options.headset_servers > options.servers ||
        options.viewer_shift < 0)
        die("--headset-servers: 0 (all) to %d; --viewer-shift: from 0", options.servers);
    if (options.frame_bytes < 64)
        die("frames have at least 64 bytes");
}

void options_read(int argc, char **argv)
{
    static const struct option names[] = {
        {"port", 1, 0, 'p'},     {"pid", 1, 0, 'P'},         {"core", 1, 0, 'C'},
        {"tokens", 1, 0, 't'},   {"headsets", 1, 0, 'h'},    {"viewers", 1, 0, 'v'},
        {"dashboards", 1, 0, 'd'}, {"idle", 1, 0, 'i'},      {"slow", 1, 0, 's'},
        {"slow-rate", 1, 0, 'r'}, {"fps", 1, 0, 'f'},        {"frame-bytes", 1, 0, 'b'},
        {"telemetry-hz", 1, 0, 'T'}, {"warmup", 1, 0, 'w'},  {"seconds", 1, 0, 'S'},
        {"inflight", 1, 0, 'c'}, {"headset-servers", 1, 0, 'n'},
        {"viewer-shift", 1, 0, 'x'}, {"announce", 0, 0, 'a'}, {0, 0, 0, 0},
    };
    for (int name; (name = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (name) {
        case 'p': read_ports(optarg); break;
        case 'P': options.pid = atoi(optarg); break;
        case 'C': options.core = atoi(optarg); break;
        case 't': options.tokens = optarg; break;
        case 'h': options.count[HEADSET] = atoi(optarg); break;
        case 'v': options.count[VIEWER] = atoi(optarg); break;
        case 'd': options.count[DASHBOARD] = atoi(optarg); break;
        case 'i': options.count[IDLE] = atoi(optarg); break;
        case 's': options.count[SLOW] = atoi(optarg); break;
        case 'r': options.slow_bytes_per_s = atof(optarg); break;
        case 'f': options.fps = atof(optarg); break;
        case 'b': options.frame_bytes = (size_t)atol(optarg); break;
        case 'T': options.telemetry_hz = atof(optarg); break;
        case 'w': options.warmup_s = atof(optarg); break;
        case 'S': options.seconds = atof(optarg); break;
        case 'c': options.inflight = atoi(optarg); break;
        case 'n': options.headset_servers = atoi(optarg); break;
        case 'x': options.viewer_shift = atoi(optarg); break;
        case 'a': options.announce = true; break;
        default: exit(2);
        }
    }
    check();
}
