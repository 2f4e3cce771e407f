import { create } from "@bufbuild/protobuf";
import { type Money, MoneySchema } from "../gen/smpl/orders/v1/orders_service_pb.ts";

/** Billionths in one unit. */
export const nanosPerUnit = 1_000_000_000n;

/** An amount as one whole number of billionths, so that sums carry by themselves. */
export function toNanos(money: Money): bigint {
  return money.units * nanosPerUnit + BigInt(money.nanos);
}

/** The opposite of `toNanos`. Units and nanos get the same sign, as the contract asks. */
export function fromNanos(currencyCode: string, nanos: bigint): Money {
  return create(MoneySchema, {
    currencyCode,
    units: nanos / nanosPerUnit,
    nanos: Number(nanos % nanosPerUnit),
  });
}
