// A request to the admin API or the dashboard, apart from the HTTP library, so that tests ask
// without a socket. Made by their routes; a plain value.
#pragma once

#include <map>
#include <string>

namespace httplib {
struct Request;
}

namespace steplog::server {

/// What a browser says of itself and of the page that asks. "" where it says nothing.
struct BrowserSaid {
    std::string cookie;           // all of them: "a=1; b=2"
    std::string csrf;             // X-Steplog-CSRF
    std::string origin, host;     // "https://steplog.example:8443", "steplog.example:8443"
    std::string fetch_site;       // Sec-Fetch-Site: "same-origin"
    std::string forwarded_proto;  // only where a trusted proxy said it
};

struct AdminRequest {
    std::string method;  // GET (HEAD is one) or POST
    std::string path;    // decoded
    std::multimap<std::string, std::string> query;
    std::string authorization;
    std::string body;
    std::string address;
    BrowserSaid browser = {};
};

AdminRequest admin_request(const httplib::Request& request);

}  // namespace steplog::server
