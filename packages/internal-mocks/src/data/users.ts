import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type Address,
  AddressSchema,
  type User,
  UserSchema,
  UserStatus,
} from "../gen/smpl/users/v1/users_service_pb.ts";
import { createDraw, type Draw, pick } from "./draw.ts";
import { personAt } from "./names.ts";
import { createTable, type Table } from "./table.ts";
import { createTimes } from "./times.ts";

/** All users, oldest first. */
export interface Users extends Table<User> {
  /** Whether somebody has this email; capitals do not count. */
  isTaken(email: string): boolean;
  /** Adds a user, made now. Does not ask whether the email is taken. */
  create(email: string, displayName: string): User;
}

/** Makes the users of a seed. */
export function createUsers(seed: number, count: number): Users {
  const seededUser = createUserRow(seed);
  const internals = createInternals(seed);
  const table = createTable({ prefix: "user", seeded: count, row: seededUser });
  const createdEmails = new Set<string>();
  return {
    ...table,
    isTaken: (email) => createdEmails.has(email.toLowerCase()) || isSeededEmail(email.toLowerCase(), count),
    create(email, displayName) {
      createdEmails.add(email.toLowerCase());
      const createTime = timestampFromMs(Date.now());
      const status = UserStatus.ACTIVE;
      return table.add((index, id) =>
        create(UserSchema, { id, email, displayName, createTime, status, ...internals(index) }),
      );
    },
  };
}

function createUserRow(seed: number): (index: number, id: string) => User {
  const status = createDraw(seed, "users.status");
  const internals = createInternals(seed);
  const address = createDraw(seed, "users.address");
  const createMs = createTimes({
    from: Date.UTC(2018, 0),
    to: Date.UTC(2022, 0),
    half: 300,
    draw: createDraw(seed, "users.create_time"),
  });
  return (index, id) =>
    create(UserSchema, {
      id,
      email: seededEmail(index),
      displayName: personAt(index).displayName,
      createTime: timestampFromMs(createMs(index)),
      status: pick(statuses, status(index)),
      address: addressAt(address, index),
      ...internals(index),
    });
}

// Values that must never leave the company begin with words that a test can look for in anything public.
function createInternals(
  seed: number,
): (index: number) => Pick<User, "phone" | "passwordHash" | "riskScore"> {
  const secret = createDraw(seed, "users.secret");
  return (index) => ({
    phone: `+999555${String(index + 1).padStart(7, "0")}`,
    passwordHash: `argon2id$SECRET$${Math.floor(secret(index) * 2 ** 32).toString(16)}`,
    riskScore: Math.round(secret(index, 1) * 1_000) / 1_000,
  });
}

function seededEmail(index: number): string {
  return `${personAt(index).emailName}.${index + 1}@example.com`;
}

// A seeded email ends in its user's number, so nothing has to be searched.
function isSeededEmail(email: string, count: number): boolean {
  const number = Number(/\.([1-9]\d{0,8})@example\.com$/.exec(email)?.[1] ?? 0);
  return number > 0 && number <= count && seededEmail(number - 1) === email;
}

function addressAt(draw: Draw, index: number): Address {
  const [city, countryCode, postalCode] = pick(cities, draw(index));
  const street = `${pick(streets, draw(index, 1))} ${1 + Math.floor(draw(index, 2) * 200)}`;
  return create(AddressSchema, { street, city, postalCode, countryCode });
}

const { ACTIVE, SUSPENDED, CLOSED } = UserStatus;
const statuses = [ACTIVE, ACTIVE, ACTIVE, ACTIVE, ACTIVE, ACTIVE, ACTIVE, ACTIVE, SUSPENDED, CLOSED] as const;
const streets = ["Main Street", "Bahnhofstraße", "Rue de l'Église", "Calle Mayor", "Nørregade"] as const;
type City = readonly [city: string, countryCode: string, postalCode: string];
const cities: readonly [City, ...City[]] = [
  ["London", "GB", "SW1A 1AA"],
  ["Zürich", "CH", "8001"],
  ["São Paulo", "BR", "01310-100"],
  ["東京", "JP", "100-0001"],
  ["Berlin", "DE", "10115"],
  ["New York", "US", "10001"],
  ["Kraków", "PL", "30-001"],
];
