// The texts of steps/templates/, as they were when the program was built (steps/CMakeLists.txt).
#pragma once

#include <string_view>

namespace steplog::steps {

extern const std::string_view built_in_welcome_subject;
extern const std::string_view built_in_welcome_text;
extern const std::string_view built_in_welcome_html;

}  // namespace steplog::steps
