// A file of the consumer's own under a name that the engine uses too.
#pragma once

inline int cylinders() { return 4; }
