// A directory that a test may fill: the library's own.
#pragma once

#include "engine/testing/temporary_directory.h"
