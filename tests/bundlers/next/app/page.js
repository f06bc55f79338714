"use client";

import { useEffect } from "react";
import { run } from "../answers.js";

export default function Page() {
  useEffect(() => void run(), []);
  return null;
}
