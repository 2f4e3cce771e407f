import { describe, expect, it } from "vitest";
import { readEnvironment } from "./environment.ts";

describe("readEnvironment", () => {
  it("has the demo's defaults, also for empty variables", () => {
    const options = {
      users: 1_000,
      orders: 5_000,
      items: 3_000,
      host: "127.0.0.1",
      ports: { users: 9101, orders: 9102, inventory: 9103 },
    };
    expect(readEnvironment({})).toEqual({ options });
    expect(readEnvironment({ MOCK_USERS: "", USERS_PORT: " ", MOCK_HOST: "" })).toEqual({ options });
  });

  it("takes what is given", () => {
    const env = {
      MOCK_USERS: "1000000",
      MOCK_ORDERS: "0",
      MOCK_ITEMS: "7",
      MOCK_HOST: "::1",
      ORDERS_PORT: "0",
      INVENTORY_PORT: "65535",
    };
    expect(readEnvironment(env)).toEqual({
      options: {
        users: 1_000_000,
        orders: 0,
        items: 7,
        host: "::1",
        ports: { users: 9101, orders: 0, inventory: 65_535 },
      },
    });
  });

  it("names every bad variable, what was given and what would do", () => {
    const env = {
      MOCK_USERS: "many",
      MOCK_ORDERS: "-1",
      MOCK_ITEMS: "1000001",
      USERS_PORT: "65536",
      ORDERS_PORT: "80.5",
    };
    expect(readEnvironment(env)).toEqual({
      problems: [
        'MOCK_USERS is "many": give a whole number from 0 to 1,000,000, such as 1000',
        'MOCK_ORDERS is "-1": give a whole number from 0 to 1,000,000, such as 5000',
        'MOCK_ITEMS is "1000001": give a whole number from 0 to 1,000,000, such as 3000',
        'USERS_PORT is "65536": give a port (0: any free one) from 0 to 65,535, such as 9101',
        'ORDERS_PORT is "80.5": give a port (0: any free one) from 0 to 65,535, such as 9102',
      ],
    });
  });
});
