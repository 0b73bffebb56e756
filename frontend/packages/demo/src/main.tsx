import "@doorstep/components/doorstep.css";
import "./style.css";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Start } from "./Start.tsx";

const place = document.getElementById("page");
if (place)
  createRoot(place).render(
    <StrictMode>
      <Start />
    </StrictMode>,
  );
