// HttpReply's one function. Any thread.
#include "steps/http.h"

#include "steps/http_text.h"

namespace steplog::steps {

std::string HttpReply::header(std::string_view name) const {
    const std::string wanted = lower_case(name);
    for (const auto& [key, value] : headers) {
        if (lower_case(key) == wanted) return value;
    }
    return {};
}

}  // namespace steplog::steps
