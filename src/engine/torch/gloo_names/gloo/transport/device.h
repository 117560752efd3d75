#pragma once

// See there.
#include "gloo/context.h"
