export interface Vcpu {
  readonly domid: number;
  readonly id: number;
}
