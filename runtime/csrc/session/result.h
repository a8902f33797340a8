// The handle around a registration.
#pragma once

#include "session/registration.h"

struct vm_result {
    vm::Registration registration;
};
