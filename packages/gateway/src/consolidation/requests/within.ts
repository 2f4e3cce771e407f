import { type FieldViolation, invalid, PublicError } from "../../errors.ts";

/**
 * Makes a message that stands in a field of a request. What is wrong with its fields is then said of where they are.
 *
 * @param path of the field, as in the proto; empty for the request itself
 * @example within("lines[2]", () => line(request.lines[2])) // lines[2].state: 77 is none of ...
 */
export function within<T>(path: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw error instanceof PublicError && path !== "" ? placed(path, error) : error;
  }
}

function placed(path: string, error: PublicError): PublicError {
  if (error.reason !== "INVALID_FIELDS") return error;
  const { violations = [] } = error.options;
  const [first, ...others] = violations.map(
    ({ field, description }): FieldViolation => ({
      field: field === "" ? path : `${path}.${field}`,
      description,
    }),
  );
  return first === undefined ? error : invalid(first, ...others);
}
