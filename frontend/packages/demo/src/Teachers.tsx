import type { ReactElement } from "react";
import type { Desk } from "./desk.ts";

export interface TeachersProps {
  readonly desks: readonly Desk[];
  readonly desk: Desk;
  readonly onChoose: (desk: Desk) => void;
}

/** Who is signed in. */
export function Teachers({ desks, desk, onChoose }: TeachersProps): ReactElement {
  return (
    <fieldset className="teachers">
      <legend>Signed in as</legend>
      {desks.map((one) => (
        <label key={one.teacher.user_id}>
          <input
            type="radio"
            name="teacher"
            value={one.teacher.user_id}
            checked={one === desk}
            onChange={() => onChoose(one)}
          />
          <span className="initials" aria-hidden="true">
            {initialsOf(one.teacher.name)}
          </span>
          <span className="who">{one.teacher.name}</span>
          <span className="course">{one.teacher.course}</span>
        </label>
      ))}
    </fieldset>
  );
}

const initialsOf = (name: string): string => name.split(" ").map((word) => word[0]).join("");
