// Ten graded knees to compare with. Chen P., Knee Osteoarthritis Severity Grading Dataset, Mendeley
// Data V1 2018, doi 10.17632/56rmx5bjcr.1, CC BY 4.0; grades of the Osteoarthritis Initiative.

import { ROOT } from "./root.js";

export const CREDIT = "Chen 2018, doi 10.17632/56rmx5bjcr.1, CC BY 4.0";
export const ATLAS = [
  { grade: 0, side: "L", file: "9511862L" },
  { grade: 0, side: "L", file: "9589486L" },
  { grade: 1, side: "L", file: "9522615L" },
  { grade: 1, side: "L", file: "9103968L" },
  { grade: 2, side: "R", file: "9589486R" },
  { grade: 2, side: "L", file: "9637958L" },
  { grade: 3, side: "R", file: "9866738R" },
  { grade: 3, side: "L", file: "9177337L" },
  { grade: 4, side: "R", file: "9177337R" },
  { grade: 4, side: "R", file: "9511862R" },
].map((knee) => ({ ...knee, picture: `${ROOT}/static/atlas/${knee.file}.png` }));

export function neighbours(grade) {
  return [grade - 1, grade, grade + 1]
    .filter((one) => one >= 0 && one <= 4)
    .flatMap((one) => ATLAS.filter((knee) => knee.grade === one));
}

export async function exampleFile() {
  const knee = ATLAS.find((one) => one.grade === 3);
  const answer = await fetch(knee.picture);
  return new File([await answer.blob()], `${knee.file}.png`, { type: "image/png" });
}
