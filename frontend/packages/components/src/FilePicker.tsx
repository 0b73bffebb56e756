import { type DragEvent, type ReactElement, useId, useRef, useState } from "react";
import { filesOfDrop } from "./drop.ts";

/** Where files are chosen, or dropped. The input itself is a button for keyboards and screen readers. */
export function FilePicker({ onFiles }: { readonly onFiles: (files: readonly File[]) => void }): ReactElement {
  const id = useId();
  const depth = useRef(0);
  const [over, setOver] = useState(false);
  const enter = (by: number): void => {
    depth.current += by;
    setOver(depth.current > 0);
  };
  const drop = async (event: DragEvent): Promise<void> => {
    event.preventDefault();
    enter(-depth.current);
    const files = await filesOfDrop(event.dataTransfer);
    if (files.length) onFiles(files);
  };
  return (
    <div
      className="ds-picker"
      data-over={over}
      onDragEnter={() => enter(1)}
      onDragLeave={() => enter(-1)}
      onDragOver={(event) => event.preventDefault()}
      onDrop={drop}
    >
      <label htmlFor={id}>Choose essay files, or drop them here</label>
      <input
        id={id}
        type="file"
        multiple
        onChange={({ target }) => {
          onFiles([...(target.files ?? [])]);
          target.value = ""; // the same file may be chosen again
        }}
      />
    </div>
  );
}
