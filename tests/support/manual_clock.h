// Time and randomness that a test decides: the library's own.
#pragma once

#include "engine/testing/manual_clock.h"
