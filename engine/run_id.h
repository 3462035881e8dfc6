// An id can stand for one instance after another: its runs. The first has the id itself, the later
// ones "<id>/run:00000002" and so on, so that the newest is the last by name. Pure functions; any
// thread.
#pragma once

#include <string>
#include <string_view>

namespace steplog {

/// The id of the n-th run, from 1 on.
std::string run_id(std::string_view first, int run);

/// The id that all runs share: itself for a first one.
std::string first_run(std::string_view id);

/// Which run it is: 1, 2, …
int run_of(std::string_view id);

/// The run of `first` to which `id` belongs, where it is a later run of it or something within one,
/// like a child's id; `first` where it is not.
std::string run_holding(std::string_view first, std::string_view id);

/// Whether a program may give an instance this id: none that looks like a later run's.
bool may_be_given(std::string_view id);

}  // namespace steplog
