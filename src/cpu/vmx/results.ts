/** How VMX instructions end. Edition of the SDM: see fields.ts. */

/** Outcome of a VMX instruction (SDM §31.2). */
export const VM_SUCCEED = 0;
export const VM_FAIL_INVALID = 1;
/** The VM-instruction error field has the error number. */
export const VM_FAIL_VALID = 2;
/** VM entry or exit only: a VMX abort (SDM §28.7); the processor is of no further use, the region has the indicator. */
export const VMX_ABORT = 3;
export type VmxResult = 0 | 1 | 2 | 3;

/** VM-instruction error numbers (SDM §31.4). */
export const VMCLEAR_INVALID_ADDRESS = 2;
export const VMCLEAR_VMXON_POINTER = 3;
export const VMLAUNCH_NOT_CLEAR = 4;
export const VMRESUME_NOT_LAUNCHED = 5;
export const INVALID_CONTROL_FIELDS = 7;
export const INVALID_HOST_STATE = 8;
export const VMPTRLD_INVALID_ADDRESS = 9;
export const VMPTRLD_VMXON_POINTER = 10;
export const VMPTRLD_WRONG_REVISION = 11;
export const UNSUPPORTED_COMPONENT = 12;
export const READ_ONLY_COMPONENT = 13;
export const VMXON_IN_ROOT = 15;
export const INVALID_INVALIDATION = 28;
