// Times as forecasters of Korea write them: local time first, UTC beside it.

import { chosenLanguage } from "./texts.js";

const LOCAL_ZONE = "Asia/Seoul";
const LOCAL_NAME = "KST";

function parts(time, zone, options) {
  return new Intl.DateTimeFormat(chosenLanguage() === "ko" ? "ko-KR" : "en-GB", { timeZone: zone, hourCycle: "h23", ...options }).format(new Date(time));
}

// "Thu 11 Aug, 16:00 KST"
export function localTime(time) {
  const day = parts(time, LOCAL_ZONE, { weekday: "short", day: "numeric", month: "short" });
  return `${day} ${parts(time, LOCAL_ZONE, { hour: "2-digit", minute: "2-digit" })} ${LOCAL_NAME}`;
}

// "16:00"
export function localClock(time) {
  return parts(time, LOCAL_ZONE, { hour: "2-digit", minute: "2-digit" });
}

// "07:00 UTC"
export function utcClock(time) {
  return `${parts(time, "UTC", { hour: "2-digit", minute: "2-digit" })} UTC`;
}

// "9 Aug 2022 18 UTC": the name of a cycle, in UTC everywhere.
export function cycleName(time, { withYear } = { withYear: true }) {
  const day = parts(time, "UTC", { day: "numeric", month: "short", ...(withYear ? { year: "numeric" } : {}) });
  return `${day} ${new Date(time).toISOString().slice(11, 13)} UTC`;
}

// "9 Aug"
export function utcDay(time) {
  return parts(time, "UTC", { day: "numeric", month: "short" });
}
