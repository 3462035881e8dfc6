// What the front allows anybody, all of it settings: sizes, deadlines, connections. None can be
// switched off. Used by the settings and by the front.
#pragma once

#include <cstddef>

#include "engine/types.h"

namespace steplog::server {

struct FrontLimits {
    // Sizes in bytes.
    std::size_t body_max = 1024 * 1024;        // 413, unread; at most 16 MiB
    std::size_t header_bytes_max = 16 * 1024;  // request line and headers together: 431
    std::size_t line_max = 8 * 1024;           // one line of them: 414 or 431
    std::size_t header_lines_max = 64;         // how many headers: 431
    std::size_t target_max = 2048;             // path and query: 414
    /// Of all requests and answers together; beyond it the largest unfinished one makes room.
    std::size_t buffered_bytes_max = 64 * 1024 * 1024;
    /// Of what a refused sender still sends; read and thrown away, so that it can read why.
    std::size_t discarded_bytes_max = 32 * 1024 * 1024;

    // Deadlines, each absolute: a byte now and then moves none of them.
    Ms header_deadline{5000};    // accept, or a later request's first byte, to the last header: 408
    Ms request_deadline{15000};  // a request's first byte to its last: 408
    Ms answer_deadline{10000};   // its last byte to the route's answer: 503, that answer is dropped
    Ms write_deadline{10000};    // the answer's first byte to its last: the connection is reset
    Ms idle_deadline{5000};      // between two requests: closed
    Ms linger_deadline{2000};    // after the last answer, for what the client still sends

    // Connections.
    int connections_max = 4096;            // beyond it those waited for longest go
    int connections_per_address_max = 64;  // IPv6: per /64; 429. Not for trusted proxies, loopback
    int requests_per_connection_max = 100;

    // Routes.
    int workers = 64;     // threads that run them
    int queue_max = 512;  // requests waiting for a worker; beyond it 503
};

}  // namespace steplog::server
